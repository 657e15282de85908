variable "name_prefix" {
  description = "First part of both queue names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower case letters, digits and hyphens, and start with a letter."
  }
}

variable "function_timeout_seconds" {
  description = "Timeout of the function that consumes the tasks queue."
  type        = number

  validation {
    condition     = var.function_timeout_seconds >= 1 && var.function_timeout_seconds <= 900
    error_message = "function_timeout_seconds must be 1 to 900, Lambda's range."
  }
}

variable "batching_window_seconds" {
  description = "Batching window of the event source mapping that consumes the tasks queue."
  type        = number
  default     = 0

  validation {
    condition     = var.batching_window_seconds >= 0 && var.batching_window_seconds <= 300
    error_message = "batching_window_seconds must be 0 to 300, the event source mapping's range."
  }
}

variable "visibility_timeout_seconds" {
  description = "How long a received task stays hidden. Null means the least that is safe: 6 x timeout + window."
  type        = number
  default     = null

  validation {
    condition = (
      var.visibility_timeout_seconds == null ? true :
      var.visibility_timeout_seconds >= 6 * var.function_timeout_seconds + var.batching_window_seconds
    )
    error_message = "visibility_timeout_seconds must be at least 6 x function_timeout_seconds + batching_window_seconds."
  }

  validation {
    condition     = var.visibility_timeout_seconds == null ? true : var.visibility_timeout_seconds <= 43200
    error_message = "visibility_timeout_seconds must be at most 43200 (12 hours), the SQS limit."
  }
}

variable "max_receive_count" {
  description = "How often a task is handed out before it goes to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    # A throttled poller returns its batch and that counts as a receive: AWS advises at least 5.
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count must be 5 to 1000: below 5, throttling alone sends good tasks to the dead-letter queue."
  }
}

variable "retention_seconds" {
  description = "How long an unconsumed task is kept: SQS deletes it afterwards, and nobody is told. Default 10 days, so that a worker may be down over a holiday, and what fails then is still kept for 4 days as a dead letter."
  type        = number
  default     = 864000

  validation {
    condition     = var.retention_seconds >= 60 && var.retention_seconds <= 1209600
    error_message = "retention_seconds must be 60 to 1209600 (14 days), the SQS range."
  }
}

variable "dead_letter_retention_seconds" {
  description = "How long a dead-lettered task is kept, counted from its first enqueue. Default 14 days, the most SQS offers."
  type        = number
  default     = 1209600

  validation {
    condition     = var.dead_letter_retention_seconds > var.retention_seconds && var.dead_letter_retention_seconds <= 1209600
    error_message = "dead_letter_retention_seconds must be above retention_seconds and at most 1209600: otherwise a late failure expires before anyone sees it."
  }
}

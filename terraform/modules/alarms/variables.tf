variable "name_prefix" {
  description = "First part of the alarms' names."
  type        = string
}

variable "task_queue_name" {
  description = "Name of the tasks queue."
  type        = string
}

variable "dead_letter_queue_name" {
  description = "Name of the dead-letter queue."
  type        = string
}

variable "worker_function_name" {
  description = "Name of the function that works off the tasks queue."
  type        = string
}

variable "audit_function_name" {
  description = "Name of the function that looks into the dead-letter queue."
  type        = string
}

variable "http_api_id" {
  description = "Id of the HTTP API."
  type        = string
}

variable "websocket_api_id" {
  description = "Id of the WebSocket API."
  type        = string
}

variable "action_arns" {
  description = "SNS topics or other actions told about every change. None: the alarms only show."
  type        = list(string)
  default     = []
}

variable "queue_age_seconds_max" {
  description = "Age of the oldest waiting task that is still fine. Below three visibility timeouts: AWS leaves out of the age what was received more than three times, so that tasks which a worker gets and does not do never look older."
  type        = number
}

variable "worker_errors_max" {
  description = "Failed worker invocations per minute that are still fine."
  type        = number
  default     = 5
}

variable "websocket_errors_max" {
  description = "Handshakes and messages per minute whose function may fail."
  type        = number
  default     = 5
}

variable "http_5xx_share_max" {
  description = "Share of requests, 0 to 1, that may end in 5xx."
  type        = number
  default     = 0.01

  validation {
    condition     = var.http_5xx_share_max >= 0 && var.http_5xx_share_max <= 1
    error_message = "http_5xx_share_max must be 0 to 1."
  }
}

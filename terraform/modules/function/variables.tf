variable "name" {
  description = "Name of the function within its stack. With the stack's prefix it is also that of its role and, after /aws/lambda/, of its log group."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,42}$", var.name))
    error_message = "name must be 2 to 43 lower case letters, digits and hyphens: Lambda takes 64 with the prefix, and so do roles."
  }
}

variable "stack" {
  description = "What all functions of a stack share."
  type = object({
    name_prefix        = string
    zip_dir            = string                # holds {name}.zip, with the executable `bootstrap` in it
    architecture       = string                # that the zips were built for
    memory_mb          = optional(number, 256) # and with it CPU
    log_retention_days = optional(number, 14)
    tracing_enabled    = optional(bool, false) # X-Ray
    # Wires the AWS FIS extension into the function. Null leaves no trace of it.
    fault_injection = optional(object({
      layer_arn              = string
      configuration_location = string
      bucket_arn             = string
      prefix                 = string
      poll_wait_max_ms       = number
    }))
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.stack.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower case letters, digits and hyphens, and start with a letter."
  }

  validation {
    condition     = fileexists("${var.stack.zip_dir}/${var.name}.zip")
    error_message = "There is no zip of this function in zip_dir: package the functions first."
  }

  validation {
    condition     = contains(["arm64", "x86_64"], var.stack.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }

  validation {
    condition     = var.stack.memory_mb >= 128 && var.stack.memory_mb <= 10240
    error_message = "memory_mb must be 128 to 10240, Lambda's range."
  }

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.stack.log_retention_days)
    error_message = "log_retention_days must be one of the values that CloudWatch Logs takes; keeping for ever is not one of ours."
  }
}

variable "description" {
  description = "What the function does, for those who meet it in the console."
  type        = string
}

variable "timeout_seconds" {
  description = "When Lambda kills an invocation."
  type        = number

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "timeout_seconds must be 1 to 900, Lambda's range."
  }
}

variable "reserved_concurrency" {
  description = "Concurrency set aside for this function and its ceiling. -1 shares the account's pool; 0 stops it."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency >= -1
    error_message = "reserved_concurrency must be -1 (shared) or a count."
  }
}

variable "environment" {
  description = "Environment variables of the function; Lambda takes 4 KB in all."
  type        = map(string)
  default     = {}
}

variable "statements" {
  description = "What the function may do beyond writing its logs: exact actions on exact ARNs, each with a sentence as sid."
  type = list(object({
    sid       = string
    actions   = list(string)
    resources = list(string)
  }))
  default = []

  validation {
    condition     = alltrue([for action in flatten(var.statements[*].actions) : !strcontains(action, "*")])
    error_message = "statements must name their actions; a wildcard grants what nobody asked for."
  }

  validation {
    condition     = alltrue([for arn in flatten(var.statements[*].resources) : arn != "*"])
    error_message = "statements must name their resources."
  }

  validation {
    condition     = alltrue([for sid in var.statements[*].sid : can(regex("^[A-Za-z0-9]+$", sid))])
    error_message = "A sid takes letters and digits only."
  }
}

variable "name" {
  description = "Name of the function, its role and, after /aws/lambda/, its log group."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.name))
    error_message = "name must be 2 to 63 lower case letters, digits and hyphens: Lambda takes 64, and so do roles."
  }
}

variable "description" {
  description = "What the function does, for those who meet it in the console."
  type        = string
}

variable "zip_path" {
  description = "Path of the prebuilt zip with the executable `bootstrap` in it."
  type        = string

  validation {
    condition     = fileexists(var.zip_path)
    error_message = "There is no file at zip_path: package the functions first."
  }
}

variable "architecture" {
  description = "Instruction set that the zip was built for."
  type        = string

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "timeout_seconds" {
  description = "When Lambda kills an invocation."
  type        = number

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "timeout_seconds must be 1 to 900, Lambda's range."
  }
}

variable "memory_mb" {
  description = "Memory, and with it CPU."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "memory_mb must be 128 to 10240, Lambda's range."
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

variable "log_retention_days" {
  description = "How long log lines are kept."
  type        = number
  default     = 14

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_retention_days)
    error_message = "log_retention_days must be one of the values that CloudWatch Logs takes; keeping for ever is not one of ours."
  }
}

variable "tracing_enabled" {
  description = "Record X-Ray traces."
  type        = bool
  default     = false
}

variable "fault_injection" {
  description = "Wires the AWS FIS extension into the function. Null, the default, leaves no trace of it."
  type = object({
    layer_arn              = string
    configuration_location = string
    bucket_arn             = string
    prefix                 = string
    poll_wait_max_ms       = number
  })
  default = null
}

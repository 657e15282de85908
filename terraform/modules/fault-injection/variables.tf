variable "name_prefix" {
  description = "First part of the names of the role and the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower case letters, digits and hyphens, and start with a letter."
  }
}

variable "architecture" {
  description = "Instruction set of the functions; the extension layer comes in both."
  type        = string

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "function_arns" {
  description = "The functions that experiments may fault, and no others."
  type        = list(string)

  validation {
    condition     = length(var.function_arns) > 0 && alltrue([for arn in var.function_arns : !strcontains(arn, "*")])
    error_message = "function_arns must name at least one function, and each by its full ARN."
  }
}

variable "poll_wait_max_ms" {
  description = "How long the extension may hold an invocation while it asks for faults. Without it a handler faster than the poll (about 70 ms) never sees a fault."
  type        = number
  default     = 500

  validation {
    condition     = var.poll_wait_max_ms >= 0
    error_message = "poll_wait_max_ms must not be negative."
  }
}

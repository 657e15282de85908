variable "name" {
  description = "Name of the schedule and of its role."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,63}$", var.name))
    error_message = "name must be 2 to 64 lower case letters, digits and hyphens: both take 64."
  }
}

variable "description" {
  description = "Why the function runs by the clock."
  type        = string
}

variable "function_arn" {
  description = "ARN of the function, without a qualifier."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:lambda:[^:]+:[0-9]{12}:function:[A-Za-z0-9-_]+$", var.function_arn))
    error_message = "function_arn must name exactly one function."
  }
}

variable "expression" {
  description = "When it runs: rate(1 minute), cron(0 8 * * ? *) or at(2027-01-01T00:00:00), in UTC."
  type        = string

  validation {
    condition     = can(regex("^(rate|cron|at)\\(.+\\)$", var.expression))
    error_message = "expression must be rate(...), cron(...) or at(...)."
  }
}

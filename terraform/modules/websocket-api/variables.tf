variable "name" {
  description = "Name of the API."
  type        = string
}

variable "stage" {
  description = "Name of the one stage. A WebSocket URL always ends in it."
  type        = string
  default     = "live"

  validation {
    condition     = can(regex("^[a-z0-9_-]{1,128}$", var.stage))
    error_message = "stage must be 1 to 128 lower case letters, digits, hyphens and underscores; $default does not exist here."
  }
}

variable "function" {
  description = "Function behind all three routes."
  type = object({
    name       = string
    invoke_arn = string
  })
}

variable "authorizer" {
  description = "Function that decides about every handshake."
  type = object({
    name       = string
    invoke_arn = string
  })
}

variable "throttling_rate_limit" {
  description = "Steady messages per second, handshakes included."
  type        = number
  default     = 2000

  validation {
    condition     = var.throttling_rate_limit > 0
    error_message = "throttling_rate_limit must be above 0: API Gateway takes 0 as `refuse everything`."
  }
}

variable "throttling_burst_limit" {
  description = "Messages that may come at once."
  type        = number
  default     = 1000

  validation {
    condition     = var.throttling_burst_limit > 0
    error_message = "throttling_burst_limit must be above 0: API Gateway takes 0 as `refuse everything`."
  }
}

variable "name" {
  description = "Name of the API, and of its access log group after /aws/vendedlogs/apigateway/."
  type        = string
}

variable "functions" {
  description = "Functions behind the API, by a short name that `routes` uses."
  type = map(object({
    name       = string
    invoke_arn = string
  }))
}

variable "routes" {
  description = "Route key to the short name of its function: { \"POST /tasks\" = \"submit-task\" }."
  type        = map(string)

  validation {
    condition     = alltrue([for key in keys(var.routes) : can(regex("^(GET|POST|PUT|PATCH|DELETE) /[a-z0-9/{}_-]*$", key))])
    error_message = "A route key is a method, a space and a path. ANY, $default and {proxy+} would let in what no function expects."
  }

  validation {
    condition     = alltrue([for function in values(var.routes) : contains(keys(var.functions), function)])
    error_message = "A route names a function that is not in `functions`."
  }
}

variable "authorizer" {
  description = "Function that decides about every request."
  type = object({
    name       = string
    invoke_arn = string
  })
}

variable "authorizer_cache_seconds" {
  description = "How long a verdict on a token is reused. A revoked or expired token may pass for that long; 0 asks every time."
  type        = number
  default     = 60

  validation {
    condition     = var.authorizer_cache_seconds >= 0 && var.authorizer_cache_seconds <= 3600
    error_message = "authorizer_cache_seconds must be 0 to 3600, API Gateway's range."
  }
}

variable "throttling_rate_limit" {
  description = "Steady requests per second. The account has 10,000 in a Region, 2,500 in newer ones, for all its APIs of any kind and what is pushed to their sockets: docs/operations.md."
  type        = number
  default     = 2000

  validation {
    condition     = var.throttling_rate_limit > 0
    error_message = "throttling_rate_limit must be above 0: API Gateway takes 0 as `refuse everything`."
  }
}

variable "throttling_burst_limit" {
  description = "Requests that may come at once. The account has 5,000 in a Region, 1,250 in newer ones, for all its APIs."
  type        = number
  default     = 1000

  validation {
    condition     = var.throttling_burst_limit > 0
    error_message = "throttling_burst_limit must be above 0: API Gateway takes 0 as `refuse everything`."
  }
}

variable "log_retention_days" {
  description = "How long access log lines are kept."
  type        = number
  default     = 14
}

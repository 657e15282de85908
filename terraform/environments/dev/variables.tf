variable "region" {
  description = "Region to deploy to."
  type        = string
}

variable "allowed_account_ids" {
  description = "Accounts that this may be applied to. The provider refuses any other, so that a wrong profile changes nothing."
  type        = list(string)

  validation {
    condition     = length(var.allowed_account_ids) > 0 && alltrue([for id in var.allowed_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "allowed_account_ids must name at least one account, each by its 12 digits."
  }
}

variable "name_prefix" {
  description = "First part of every name, unique in the account: roles and buckets carry no region in theirs."
  type        = string
  default     = "dev"
}

variable "zip_dir" {
  description = "Directory with one zip per function, built for `architecture`."
  type        = string
}

variable "architecture" {
  description = "Instruction set that the zips were built for. arm64 costs a fifth less."
  type        = string
  default     = "arm64"
}

variable "token_issuer" {
  description = "Expected `iss` of bearer tokens."
  type        = string
}

variable "token_audience" {
  description = "Expected `aud` of bearer tokens."
  type        = string
}

variable "token_jwks" {
  description = "JWKS document (JSON) with the public keys of the issuer. Either this or token_jwks_url."
  type        = string
  default     = null
}

variable "token_jwks_url" {
  description = "Where the issuer publishes its JWKS document, with https://. Either this or token_jwks."
  type        = string
  default     = null
}

variable "authorizer_cache_seconds" {
  description = "How long the HTTP API reuses a verdict on a token; 0 asks the authorizer every time."
  type        = number
  default     = 60
}

variable "worker_timeout_seconds" {
  description = "Timeout of the worker; the visibility timeout is six times as long."
  type        = number
  default     = 10
}

variable "worker_concurrency_max" {
  description = "Most batches worked on at the same time."
  type        = number
  default     = 50
}

variable "worker_concurrency_reserved" {
  description = "Concurrency of Lambda set aside for the worker, which requests to the APIs cannot take; -1 shares the account's. AWS wants 100 units left to all other functions: a new account, with a quota of 10, must set -1 or ask for more."
  type        = number
  default     = 200
}

variable "allow_test_tasks" {
  description = "Accept the kinds poison, flaky and sleep. Turn on to run experiments here."
  type        = bool
  default     = false
}

variable "fault_injection" {
  description = "Wire the FIS extension into all functions. Turn on to run experiments here."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to delete the tables until this is turned off again."
  type        = bool
  default     = false
}

variable "alarm_action_arns" {
  description = "SNS topics or other actions told about every alarm."
  type        = list(string)
  default     = []
}

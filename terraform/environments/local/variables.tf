variable "endpoint" {
  description = "Base URL of the emulator, as it printed it: http://127.0.0.1:PORT."
  type        = string

  validation {
    # This environment has dummy credentials and short times: it must never reach AWS.
    condition     = can(regex("^http://(127\\.0\\.0\\.1|\\[::1\\]):[0-9]+$", var.endpoint))
    error_message = "endpoint must be a loopback URL with a port and nothing after it, such as http://127.0.0.1:4566."
  }
}

variable "region" {
  description = "Region that the emulator was started with."
  type        = string
  default     = "us-east-1"
}

variable "name_prefix" {
  description = "First part of every name."
  type        = string
  default     = "local"
}

variable "zip_dir" {
  description = "Directory with one zip per function."
  type        = string
}

variable "architecture" {
  description = "Instruction set of this machine, which the emulator runs the binaries on."
  type        = string
  default     = "x86_64"
}

variable "token_issuer" {
  description = "Expected `iss` of bearer tokens."
  type        = string
  default     = "https://issuer.local.test"
}

variable "token_audience" {
  description = "Expected `aud` of bearer tokens."
  type        = string
  default     = "task-backend"
}

variable "token_jwks" {
  description = "JWKS document (JSON) with the public key of the pair made for this stack."
  type        = string
}

variable "authorizer_cache_seconds" {
  description = "How long the HTTP API reuses a verdict on a token; 0 asks the authorizer every time."
  type        = number
  default     = 60
}

variable "worker_timeout_seconds" {
  description = "Timeout of the worker; the visibility timeout is six times as long."
  type        = number
  default     = 1
}

variable "max_receive_count" {
  description = "How often a task is handed out before it goes to the dead-letter queue."
  type        = number
  default     = 5
}

variable "worker_concurrency_max" {
  description = "Most batches worked on at the same time; each is a process on this machine."
  type        = number
  default     = 10
}

variable "worker_concurrency_reserved" {
  description = "Concurrency set aside for the worker; -1 shares the account's, which is this stack's alone. Each unit is 10 invocations a second: a load test makes more of a worker that is quick."
  type        = number
  default     = -1
}

variable "throttling_rate_limit" {
  description = "Steady requests, or messages, per second of each API."
  type        = number
  default     = 10000
}

variable "throttling_burst_limit" {
  description = "Requests, or messages, that may come at once to each API."
  type        = number
  default     = 5000
}

variable "audit_schedule" {
  description = "When audit-dead-letters runs by itself; null: only when it is invoked."
  type        = string
  default     = "rate(1 minute)"
}

variable "owner_index_shards" {
  description = "Over how many partitions the tasks of one owner spread."
  type        = number
  default     = 4
}

variable "allow_test_tasks" {
  description = "Accept the kinds poison, flaky and sleep."
  type        = bool
  default     = true
}

variable "fault_injection" {
  description = "Wire the FIS extension into all functions."
  type        = bool
  default     = true
}

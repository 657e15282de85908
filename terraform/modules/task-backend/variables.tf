variable "name_prefix" {
  description = "First part of every name, so that several stacks can live in one account. Unique in the account and not only in the region: roles and buckets carry no region in their names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower case letters, digits and hyphens, and start with a letter."
  }
}

variable "zip_dir" {
  description = "Directory with one zip per function: submit-task.zip, list-tasks.zip, process-task.zip, websocket.zip, audit-dead-letters.zip, authorizer.zip."
  type        = string
}

variable "architecture" {
  description = "Instruction set that the zips were built for: arm64 or x86_64. On AWS arm64 costs a fifth less."
  type        = string
  default     = "arm64"
}

variable "memory_mb" {
  description = "Memory of every function, and with it CPU."
  type        = number
  default     = 256
}

variable "api_timeout_seconds" {
  description = "Timeout of the functions behind the two APIs."
  type        = number
  default     = 10

  validation {
    # Below the 29 s of a WebSocket integration and the 30 s of an HTTP one, so that Lambda ends first and says so.
    condition     = var.api_timeout_seconds >= 1 && var.api_timeout_seconds <= 28
    error_message = "api_timeout_seconds must be 1 to 28, below what API Gateway waits."
  }
}

variable "worker_timeout_seconds" {
  description = "Timeout of the worker. The queue's visibility timeout follows from it: 6 x timeout + batching window."
  type        = number
  default     = 10
}

variable "worker_batching_window_seconds" {
  description = "How long the event source mapping may wait for a fuller batch. Above 0 it saves invocations and costs latency."
  type        = number
  default     = 0
}

variable "worker_concurrency_max" {
  description = "Most batches worked on at the same time."
  type        = number
  default     = 50

  validation {
    condition     = var.worker_concurrency_max >= 2 && var.worker_concurrency_max <= 1000
    error_message = "worker_concurrency_max must be 2 to 1000, the range of an event source mapping's MaximumConcurrency."
  }
}

variable "worker_concurrency_reserved" {
  description = "Concurrency of Lambda that is set aside for the worker, so that requests to the APIs cannot take it; -1 shares the account's. AWS lets a function with a reservation have 10 invocations a second for each unit, so that it is a multiple of worker_concurrency_max where batches are short; and it wants 100 units left to all other functions, so that a new account, with a quota of 10, must set -1 or ask for more."
  type        = number
  default     = 200

  validation {
    condition     = var.worker_concurrency_reserved == -1 || var.worker_concurrency_reserved >= var.worker_concurrency_max
    error_message = "worker_concurrency_reserved must be -1 or at least worker_concurrency_max: below it Lambda throttles batches, each of which uses up a receive."
  }
}

variable "max_receive_count" {
  description = "How often a task is handed out before it goes to the dead-letter queue; at least 5."
  type        = number
  default     = 5
}

variable "audit_timeout_seconds" {
  description = "Timeout of audit-dead-letters. Of a dead-letter queue that is too long to be read in this time, each audit sees a part."
  type        = number
  default     = 60

  validation {
    # An audit begins no look in the last 2 s: limits::AUDIT_ROUND_TIME.
    condition     = var.audit_timeout_seconds >= 5 && var.audit_timeout_seconds <= 900
    error_message = "audit_timeout_seconds must be 5 to 900: a shorter audit has no time to look, and Lambda knows no longer one."
  }
}

variable "audit_schedule" {
  description = "When audit-dead-letters runs by itself: rate(...), cron(...) or at(...). Null: only when it is invoked."
  type        = string
  default     = "rate(1 minute)"
}

variable "owner_index_shards" {
  description = "Over how many partitions the tasks of one owner spread. Reading a page asks each of them. Do not lower it while tasks exist: those of the higher shards would not be listed."
  type        = number
  default     = 4

  validation {
    condition     = var.owner_index_shards >= 1 && var.owner_index_shards <= 64 && floor(var.owner_index_shards) == var.owner_index_shards
    error_message = "owner_index_shards must be a whole number from 1 to 64."
  }
}

variable "tasks_in_flight_per_owner_max" {
  description = "About how many tasks of one owner may be queued or running before further ones are refused with 429. Counted now and then, so that a burst may pass it."
  type        = number
  default     = 5000

  validation {
    condition     = var.tasks_in_flight_per_owner_max >= 1 && var.tasks_in_flight_per_owner_max <= 100000
    error_message = "tasks_in_flight_per_owner_max must be 1 to 100000."
  }

  validation {
    # 8 pages of 1 MB, and a record in the index is 600 bytes where the owner's name is long; limits::COUNTED_PER_SHARD_MAX.
    condition     = var.tasks_in_flight_per_owner_max <= 12500 * var.owner_index_shards
    error_message = "tasks_in_flight_per_owner_max must be at most 12500 per shard of owner_index_shards, what a count can see: a limit above that would never hold."
  }
}

variable "token_issuer" {
  description = "Expected `iss` of bearer tokens."
  type        = string

  validation {
    condition     = length(var.token_issuer) > 0
    error_message = "token_issuer must not be empty: any issuer would do."
  }
}

variable "token_audience" {
  description = "Expected `aud` of bearer tokens."
  type        = string

  validation {
    condition     = length(var.token_audience) > 0
    error_message = "token_audience must not be empty: tokens made for others would do."
  }
}

variable "token_jwks" {
  description = "JWKS document (JSON) with the public keys that tokens are verified against: Ed25519 (EdDSA), or RSA of 2,048 bits or more (RS256), for signatures; others are passed over. Public keys only. For a stack with a key pair of its own; else token_jwks_url."
  type        = string
  default     = null

  validation {
    condition     = (var.token_jwks == null) != (var.token_jwks_url == null)
    error_message = "Give either token_jwks or token_jwks_url."
  }

  validation {
    condition     = var.token_jwks == null || try(length(jsondecode(var.token_jwks).keys) > 0, false)
    error_message = "token_jwks must be a JWKS document with at least one key: {\"keys\":[...]}."
  }

  validation {
    # What the authorizer takes, limits::KEYS_MAX of them. 2,048 bits are 342 letters.
    condition = var.token_jwks == null || try(contains(range(1, 33), length([
      for key in jsondecode(var.token_jwks).keys : key if anytrue([
        try(key.use, "sig") == "sig" && try(key.kty, "") == "OKP" && try(key.crv, "") == "Ed25519" && try(key.alg, "EdDSA") == "EdDSA" && can(regex("^[A-Za-z0-9_-]{43}$", key.x)) && try(contains(key.key_ops, "verify"), !can(key.key_ops)),
        try(key.use, "sig") == "sig" && try(key.kty, "") == "RSA" && can(regex("^[A-Za-z0-9_-]{342,}$", key.n)) && can(key.e) && try(key.alg, "RS256") == "RS256" && try(contains(key.key_ops, "verify"), !can(key.key_ops)),
      ])
    ])), false)
    error_message = "token_jwks must have 1 to 32 keys that the authorizer can use: Ed25519 (EdDSA), or RSA of 2,048 bits or more (RS256), for signatures."
  }

  validation {
    condition     = try(alltrue([for key in jsondecode(var.token_jwks).keys : !can(key.d) && !can(key.k)]), true)
    error_message = "token_jwks holds a private or symmetric key. Anyone who may read the function's configuration could sign tokens with it."
  }

  validation {
    # Lambda takes 4 KB of environment variables in all.
    condition     = try(length(var.token_jwks), 0) <= 3072
    error_message = "token_jwks must be at most 3072 characters, to fit Lambda's 4 KB of environment variables."
  }
}

variable "token_jwks_url" {
  description = "Where the token issuer publishes its keys, for example https://issuer/.well-known/jwks.json. Fetched by the authorizer, kept, and fetched again for new keys."
  type        = string
  default     = null

  validation {
    condition     = var.token_jwks_url == null || startswith(coalesce(var.token_jwks_url, "-"), "https://")
    error_message = "token_jwks_url must begin with https://: whoever can change the document on its way can make up owners."
  }
}

variable "authorizer_cache_seconds" {
  description = "How long the HTTP API reuses a verdict on a token; 0 asks the authorizer every time."
  type        = number
  default     = 60
}

variable "throttling_rate_limit" {
  description = "Steady requests, or messages, per second of each API."
  type        = number
  default     = 2000
}

variable "throttling_burst_limit" {
  description = "Requests, or messages, that may come at once to each API."
  type        = number
  default     = 1000
}

variable "allow_test_tasks" {
  description = "Accept the kinds poison, flaky and sleep, which exist for experiments. Off where real clients are."
  type        = bool
  default     = false
}

variable "fault_injection" {
  description = "Wire the AWS FIS extension into all functions. Costs cold start, and an S3 poll now and then."
  type        = bool
  default     = false
}

variable "tracing_enabled" {
  description = "Record X-Ray traces of the functions."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "How long log lines of functions and access logs are kept."
  type        = number
  default     = 14
}

variable "point_in_time_recovery" {
  description = "Keep continuous backups of the tasks table."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to delete the tables until this is turned off again."
  type        = bool
  default     = false
}

variable "alarm_action_arns" {
  description = "SNS topics or other actions told about every alarm. None: the alarms only show."
  type        = list(string)
  default     = []
}

variable "provisioned_capacity" {
  description = "Capacity of the tasks table and, once more, of its index. Null, the default, is on demand."
  type = object({
    read_units  = number
    write_units = number
  })
  default = null
}

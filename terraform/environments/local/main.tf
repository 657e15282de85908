# The same backend as everywhere, on the emulator. Times are shorter through variables; no rule between them is.

provider "aws" {
  region = var.region

  # The emulator takes any key. Fixed ones keep a real account's credentials out of it.
  access_key                  = "local"
  secret_key                  = "local"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true # bucket names under 127.0.0.1 do not resolve
  max_retries                 = 3    # the default, 25, hides a failing emulator for minutes

  endpoints {
    apigatewayv2 = var.endpoint
    cloudwatch   = var.endpoint
    dynamodb     = var.endpoint
    iam          = var.endpoint
    lambda       = var.endpoint
    logs         = var.endpoint
    s3           = var.endpoint
    scheduler    = var.endpoint
    sqs          = var.endpoint
    ssm          = var.endpoint
    sts          = var.endpoint
  }

  default_tags {
    tags = {
      project     = "task-backend"
      environment = "local"
      # What an experiment aims at must say so; chaos refuses everything else, and any stack of production.
      chaos = "allowed"
    }
  }
}

module "task_backend" {
  source = "../../modules/task-backend"

  name_prefix  = var.name_prefix
  zip_dir      = var.zip_dir
  architecture = var.architecture

  token_issuer   = var.token_issuer
  token_audience = var.token_audience
  token_jwks     = var.token_jwks

  authorizer_cache_seconds = var.authorizer_cache_seconds

  # Short, so that a fault, the retries after it and the dead-letter queue are seen within a minute.
  worker_timeout_seconds      = var.worker_timeout_seconds
  max_receive_count           = var.max_receive_count
  worker_concurrency_max      = var.worker_concurrency_max
  worker_concurrency_reserved = var.worker_concurrency_reserved

  # High enough that the load generator meets the functions and not the throttle.
  throttling_rate_limit  = var.throttling_rate_limit
  throttling_burst_limit = var.throttling_burst_limit

  # So high that a backlog which an experiment makes on purpose is not taken for a flood.
  tasks_in_flight_per_owner_max = min(100000, 12500 * var.owner_index_shards)

  audit_schedule     = var.audit_schedule
  owner_index_shards = var.owner_index_shards
  allow_test_tasks   = var.allow_test_tasks
  fault_injection    = var.fault_injection
  log_retention_days = 1
}

output "stack" {
  description = "Where everything is; `stack up` writes it to target/stack.json."
  value       = module.task_backend.stack
}

output "roles" {
  description = "Each function's own role and what it may do, for review."
  value       = module.task_backend.roles
}

# A real account. Credentials come from the environment, as for every AWS tool.

provider "aws" {
  region              = var.region
  allowed_account_ids = var.allowed_account_ids

  default_tags {
    tags = {
      project     = "task-backend"
      environment = "dev"
      # What an experiment aims at must say so; chaos refuses everything else, and any stack of production.
      chaos = var.fault_injection ? "allowed" : "forbidden"
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
  token_jwks_url = var.token_jwks_url

  authorizer_cache_seconds = var.authorizer_cache_seconds

  worker_timeout_seconds      = var.worker_timeout_seconds
  worker_concurrency_max      = var.worker_concurrency_max
  worker_concurrency_reserved = var.worker_concurrency_reserved

  allow_test_tasks = var.allow_test_tasks
  fault_injection  = var.fault_injection
  tracing_enabled  = true

  deletion_protection = var.deletion_protection
  alarm_action_arns   = var.alarm_action_arns
}

output "stack" {
  description = "Where everything is; the load test and the chaos harness read it."
  value       = module.task_backend.stack
}

output "roles" {
  description = "Each function's own role and what it may do, for review."
  value       = module.task_backend.roles
}

locals {
  function_modules = {
    submit-task        = module.submit_task
    list-tasks         = module.list_tasks
    process-task       = module.process_task
    websocket          = module.websocket
    audit-dead-letters = module.audit_dead_letters
    authorizer         = module.authorizer
  }
}

# The shape that the load test and the chaos harness read; docs/architecture.md, target/stack.json.
output "stack" {
  description = "Where everything is."
  value = {
    region     = data.aws_region.current.name
    account_id = data.aws_caller_identity.current.account_id

    http_url      = module.http_api.url
    websocket_url = module.websocket_api.url
    http_api      = { id = module.http_api.id, stage = module.http_api.stage }
    websocket_api = { id = module.websocket_api.id, stage = module.websocket_api.stage }

    functions = {
      for function, it in local.function_modules :
      function => {
        name            = it.name
        arn             = it.arn
        role_arn        = it.role.arn
        timeout_seconds = it.timeout_seconds
      }
    }

    queues = {
      tasks = {
        url                        = module.task_queue.tasks.url
        arn                        = module.task_queue.tasks.arn
        visibility_timeout_seconds = module.task_queue.visibility_timeout_seconds
        max_receive_count          = module.task_queue.max_receive_count
      }
      tasks-dlq = {
        url = module.task_queue.dead_letters.url
        arn = module.task_queue.dead_letters.arn
      }
    }

    tables = {
      tasks       = { name = module.task_table.tasks.name, arn = module.task_table.tasks.arn }
      connections = { name = module.task_table.connections.name, arn = module.task_table.connections.arn }
    }

    event_source_mapping_id = aws_lambda_event_source_mapping.tasks.id

    fault_injection = one([
      for it in module.fault_injection : { role_arn = it.role_arn, bucket = it.bucket, prefix = it.prefix }
    ])

    auth = { issuer = var.token_issuer, audience = var.token_audience }
  }
}

output "audit_schedule_role" {
  description = "The role that the auditor's schedule runs as, and what it may do; null without a schedule."
  value       = one(module.audit_schedule[*].role)
}

output "roles" {
  description = "Each function's own role and what it may do, for review."
  value       = { for function, it in local.function_modules : function => it.role }
}

output "worker_concurrency_reserved" {
  description = "Concurrency set aside for the worker; -1 shares the account's."
  value       = module.process_task.reserved_concurrency
}

output "authorizer_cache_seconds" {
  description = "How long the HTTP API reuses a verdict on a token."
  value       = module.http_api.authorizer_cache_seconds
}

# The whole backend. What happens at run time is in docs/architecture.md; here is only who is wired to whom.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  functions = toset([
    "submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters", "authorizer",
  ])

  # Known before the functions exist, so that the fault-injection role and the functions need not wait for each other.
  function_arns = {
    for function in local.functions : function => join(":", [
      "arn", data.aws_partition.current.partition, "lambda", data.aws_region.current.name,
      data.aws_caller_identity.current.account_id, "function", "${var.name_prefix}-${function}",
    ])
  }

  function_stack = {
    name_prefix        = var.name_prefix
    zip_dir            = var.zip_dir
    architecture       = var.architecture
    memory_mb          = var.memory_mb
    log_retention_days = var.log_retention_days
    tracing_enabled    = var.tracing_enabled
    fault_injection    = one(module.fault_injection[*].function_wiring)
  }
}

module "task_table" {
  source = "../task-table"

  name_prefix            = var.name_prefix
  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  provisioned_capacity   = var.provisioned_capacity
}

module "task_queue" {
  source = "../task-queue"

  name_prefix              = var.name_prefix
  function_timeout_seconds = var.worker_timeout_seconds
  batching_window_seconds  = var.worker_batching_window_seconds
  max_receive_count        = var.max_receive_count
}

module "http_api" {
  source = "../http-api"

  name = "${var.name_prefix}-http"
  functions = {
    submit-task = { name = module.submit_task.name, invoke_arn = module.submit_task.invoke_arn }
    list-tasks  = { name = module.list_tasks.name, invoke_arn = module.list_tasks.invoke_arn }
  }
  routes = {
    "POST /tasks"     = "submit-task"
    "GET /tasks"      = "list-tasks"
    "GET /tasks/{id}" = "list-tasks"
  }
  authorizer               = { name = module.authorizer.name, invoke_arn = module.authorizer.invoke_arn }
  authorizer_cache_seconds = var.authorizer_cache_seconds
  throttling_rate_limit    = var.throttling_rate_limit
  throttling_burst_limit   = var.throttling_burst_limit
  log_retention_days       = var.log_retention_days
}

module "websocket_api" {
  source = "../websocket-api"

  name                   = "${var.name_prefix}-websocket"
  function               = { name = module.websocket.name, invoke_arn = module.websocket.invoke_arn }
  authorizer             = { name = module.authorizer.name, invoke_arn = module.authorizer.invoke_arn }
  throttling_rate_limit  = var.throttling_rate_limit
  throttling_burst_limit = var.throttling_burst_limit
}

module "fault_injection" {
  source = "../fault-injection"
  count  = var.fault_injection ? 1 : 0

  name_prefix   = var.name_prefix
  architecture  = var.architecture
  function_arns = values(local.function_arns)
}

module "alarms" {
  source = "../alarms"

  name_prefix            = var.name_prefix
  task_queue_name        = module.task_queue.planned_names.tasks
  dead_letter_queue_name = module.task_queue.planned_names.dead_letters
  worker_function_name   = "${var.name_prefix}-process-task"
  audit_function_name    = "${var.name_prefix}-audit-dead-letters"
  http_api_id            = module.http_api.id
  websocket_api_id       = module.websocket_api.id
  action_arns            = var.alarm_action_arns

  # Two timeouts: what comes back unworked is left out of the age after three. Not below a minute, which is how often AWS
  # measures it: where times are short, a task that is merely tried again is as old as two of them.
  queue_age_seconds_max = max(60, 2 * module.task_queue.visibility_timeout_seconds)
}

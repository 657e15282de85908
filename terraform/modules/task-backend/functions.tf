# Each function gets the variables that docs/architecture.md lists for it, and the permissions that its own calls need.

module "submit_task" {
  source = "../function"

  stack           = local.function_stack
  name            = "submit-task"
  description     = "POST /tasks: puts the task on the queue, then records it."
  timeout_seconds = var.api_timeout_seconds

  environment = {
    TASKS_TABLE        = module.task_table.tasks.name
    TASKS_QUEUE_URL    = module.task_queue.planned_tasks_url
    OWNER_INDEX_SHARDS = tostring(var.owner_index_shards)
    ALLOW_TEST_TASKS   = tostring(var.allow_test_tasks)

    TASKS_IN_FLIGHT_PER_OWNER_MAX = tostring(var.tasks_in_flight_per_owner_max)
  }

  statements = [
    {
      sid       = "PutAcceptedTasksOnTheQueue"
      actions   = ["sqs:SendMessage"]
      resources = [module.task_queue.planned_arns.tasks]
    },
    {
      sid       = "RecordAcceptedTasksAndFindRepeatedOnes"
      actions   = ["dynamodb:PutItem", "dynamodb:GetItem"]
      resources = [module.task_table.tasks.arn]
    },
    {
      sid       = "CountTheOpenTasksOfAnOwner"
      actions   = ["dynamodb:Query"]
      resources = [module.task_table.tasks.owner_index_arn]
    },
  ]
}

module "list_tasks" {
  source = "../function"

  stack           = local.function_stack
  name            = "list-tasks"
  description     = "GET /tasks and GET /tasks/{id}: the owner's view of the tasks."
  timeout_seconds = var.api_timeout_seconds

  environment = {
    TASKS_TABLE        = module.task_table.tasks.name
    OWNER_INDEX_SHARDS = tostring(var.owner_index_shards)
  }

  statements = [
    {
      sid       = "PageOverTheTasksOfAnOwner"
      actions   = ["dynamodb:Query"]
      resources = [module.task_table.tasks.owner_index_arn]
    },
    {
      sid       = "ReadOneTask"
      actions   = ["dynamodb:GetItem"]
      resources = [module.task_table.tasks.arn]
    },
  ]
}

module "process_task" {
  source = "../function"

  stack           = local.function_stack
  name            = "process-task"
  description     = "The worker: claims, runs and completes tasks of the queue, and pushes every change."
  timeout_seconds = var.worker_timeout_seconds

  # Else requests to the APIs could take what the worker needs, and Lambda would throttle batches that use up their receives so.
  reserved_concurrency = var.worker_concurrency_reserved

  environment = {
    TASKS_TABLE                   = module.task_table.tasks.name
    CONNECTIONS_TABLE             = module.task_table.connections.name
    OWNER_INDEX_SHARDS            = tostring(var.owner_index_shards)
    TASKS_QUEUE_URL               = module.task_queue.planned_tasks_url
    MAX_RECEIVE_COUNT             = tostring(module.task_queue.max_receive_count)
    QUEUE_VISIBILITY_SECONDS      = tostring(module.task_queue.visibility_timeout_seconds)
    WEBSOCKET_MANAGEMENT_ENDPOINT = module.websocket_api.management_endpoint
    ALLOW_TEST_TASKS              = tostring(var.allow_test_tasks)
  }

  statements = [
    {
      sid = "TakeTasksFromTheQueueAndBackOff"
      actions = [
        "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", # what the mapping does in its name
        "sqs:ChangeMessageVisibility",                                       # back-off
      ]
      resources = [module.task_queue.planned_arns.tasks]
    },
    {
      sid       = "ClaimAndCompleteTasks"
      actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
      resources = [module.task_table.tasks.arn]
    },
    {
      sid       = "FindAndPruneConnectionsOfAnOwner"
      actions   = ["dynamodb:Query", "dynamodb:DeleteItem"]
      resources = [module.task_table.connections.arn]
    },
    {
      sid       = "PushToConnections"
      actions   = ["execute-api:ManageConnections"]
      resources = [module.websocket_api.push_arn]
    },
  ]
}

resource "aws_lambda_event_source_mapping" "tasks" {
  event_source_arn = module.task_queue.tasks.arn
  function_name    = module.process_task.arn

  batch_size                         = 10 # the most without a batching window, which costs latency
  maximum_batching_window_in_seconds = var.worker_batching_window_seconds

  # One bad task must not bring back the other nine.
  function_response_types = ["ReportBatchItemFailures"]

  # Limits this mapping and not the function: unlike reserved concurrency it stops polling instead of throttling, so that
  # a worker at this limit costs no receive counts. Where less is reserved or, without a reservation, left in the account than
  # this, Lambda throttles, and every batch that comes back has been received: docs/operations.md, what you need.
  scaling_config {
    maximum_concurrency = var.worker_concurrency_max
  }
}

module "websocket" {
  source = "../function"

  stack           = local.function_stack
  name            = "websocket"
  description     = "WebSocket routes: remembers connections, answers ping and watch."
  timeout_seconds = var.api_timeout_seconds

  environment = {
    TASKS_TABLE       = module.task_table.tasks.name
    CONNECTIONS_TABLE = module.task_table.connections.name
  }

  statements = [
    {
      sid       = "RememberAndForgetConnections"
      actions   = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
      resources = [module.task_table.connections.arn]
    },
    {
      sid       = "ReadAWatchedTask"
      actions   = ["dynamodb:GetItem"]
      resources = [module.task_table.tasks.arn]
    },
  ]
}

module "audit_dead_letters" {
  source = "../function"

  stack           = local.function_stack
  name            = "audit-dead-letters"
  description     = "Marks tasks found in the dead-letter queue and tells their owners. Deletes nothing there."
  timeout_seconds = var.audit_timeout_seconds

  environment = {
    TASKS_TABLE                   = module.task_table.tasks.name
    CONNECTIONS_TABLE             = module.task_table.connections.name
    OWNER_INDEX_SHARDS            = tostring(var.owner_index_shards)
    DEAD_LETTER_QUEUE_URL         = module.task_queue.dead_letters.url
    QUEUE_VISIBILITY_SECONDS      = tostring(module.task_queue.visibility_timeout_seconds)
    WEBSOCKET_MANAGEMENT_ENDPOINT = module.websocket_api.management_endpoint
  }

  statements = [
    {
      # Not sqs:DeleteMessage: the dead-letter queue loses nothing to its auditor. What it read reappears by itself.
      sid       = "ReadDeadLetters"
      actions   = ["sqs:ReceiveMessage"]
      resources = [module.task_queue.planned_arns.dead_letters]
    },
    {
      sid       = "MarkTasksAsDeadLettered"
      actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
      resources = [module.task_table.tasks.arn]
    },
    {
      sid       = "FindAndPruneConnectionsOfAnOwner"
      actions   = ["dynamodb:Query", "dynamodb:DeleteItem"]
      resources = [module.task_table.connections.arn]
    },
    {
      sid       = "PushToConnections"
      actions   = ["execute-api:ManageConnections"]
      resources = [module.websocket_api.push_arn]
    },
  ]
}

# Dead letters are marked within the minute, and their owners told. Two audits at once do no harm: the second finds marked
# what the first has marked.
module "audit_schedule" {
  source = "../function-schedule"
  count  = var.audit_schedule == null ? 0 : 1

  name         = "${var.name_prefix}-audit-dead-letters-schedule"
  description  = "Looks into the dead-letter queue by the clock."
  function_arn = module.audit_dead_letters.arn
  expression   = var.audit_schedule
}

locals {
  # One of the two is null, which no variable of a function may be.
  token_keys = merge(
    var.token_jwks == null ? {} : { TOKEN_JWKS = var.token_jwks },
    var.token_jwks_url == null ? {} : { TOKEN_JWKS_URL = var.token_jwks_url },
  )
}

# Holds no permission but its logs: it verifies tokens against public keys.
module "authorizer" {
  source = "../function"

  stack           = local.function_stack
  name            = "authorizer"
  description     = "Verifies bearer tokens for both APIs."
  timeout_seconds = 5 # API Gateway gives up on an authorizer after 10 s

  environment = merge(
    {
      TOKEN_ISSUER   = var.token_issuer
      TOKEN_AUDIENCE = var.token_audience
    },
    local.token_keys,
  )
}

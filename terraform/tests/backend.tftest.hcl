# What holds for the whole backend: who may do what, and the `stack` object that the load test and the harness read.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan

  override_resource {
    target = module.task_table.aws_dynamodb_table.tasks
    values = { arn = "arn:tasks-table" }
  }

  override_resource {
    target = module.task_table.aws_dynamodb_table.connections
    values = { arn = "arn:connections-table" }
  }

  override_resource {
    target = module.task_queue.aws_sqs_queue.tasks
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks", url = "https://sqs.test/test-tasks" }
  }

  override_resource {
    target = module.task_queue.aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks-dlq", url = "https://sqs.test/test-tasks-dlq" }
  }

  override_resource {
    target = module.http_api.aws_apigatewayv2_api.this
    values = {
      id            = "http123"
      api_endpoint  = "https://http123.execute-api.eu-central-1.amazonaws.com"
      execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:http123"
    }
  }
}

variables {
  name_prefix    = "test"
  zip_dir        = "testing/zips"
  token_issuer   = "https://issuer.test"
  token_audience = "tasks"
  token_jwks     = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}"
}

run "each_function_may_do_exactly_what_its_calls_need" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  assert {
    condition     = length(distinct([for function, role in output.roles : role.name])) == length(output.stack.functions)
    error_message = "Two functions share a role."
  }

  assert {
    condition = alltrue([
      for action in flatten([for role in output.roles : keys(role.may)]) : !strcontains(action, "*")
    ])
    error_message = "A role grants a wildcard action."
  }

  assert {
    condition = alltrue([
      for resource in flatten([for role in output.roles : values(role.may)]) : resource != "*"
    ])
    error_message = "A role grants something on every resource."
  }

  assert {
    # As JSON, since equality would also compare how the collections are typed.
    condition = jsonencode({
      for function, role in output.roles :
      function => { for action, resources in role.may : action => resources if !startswith(action, "logs:") }
      }) == jsonencode({
      submit-task = {
        "dynamodb:GetItem" = ["arn:tasks-table"]
        "dynamodb:PutItem" = ["arn:tasks-table"]
        "dynamodb:Query"   = ["arn:tasks-table/index/owner-index"]
        "sqs:SendMessage"  = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
      }
      list-tasks = {
        "dynamodb:GetItem" = ["arn:tasks-table"]
        "dynamodb:Query"   = ["arn:tasks-table/index/owner-index"]
      }
      process-task = {
        "dynamodb:DeleteItem"           = ["arn:connections-table"]
        "dynamodb:GetItem"              = ["arn:tasks-table"]
        "dynamodb:PutItem"              = ["arn:tasks-table"]
        "dynamodb:Query"                = ["arn:connections-table"]
        "dynamodb:UpdateItem"           = ["arn:tasks-table"]
        "execute-api:ManageConnections" = ["arn:aws:execute-api:eu-central-1:123456789012:api123/live/POST/@connections/*"]
        "sqs:ChangeMessageVisibility"   = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
        "sqs:DeleteMessage"             = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
        "sqs:GetQueueAttributes"        = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
        "sqs:ReceiveMessage"            = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
      }
      websocket = {
        "dynamodb:DeleteItem" = ["arn:connections-table"]
        "dynamodb:GetItem"    = ["arn:tasks-table"]
        "dynamodb:PutItem"    = ["arn:connections-table"]
      }
      audit-dead-letters = {
        "dynamodb:DeleteItem"           = ["arn:connections-table"]
        "dynamodb:GetItem"              = ["arn:tasks-table"]
        "dynamodb:PutItem"              = ["arn:tasks-table"]
        "dynamodb:Query"                = ["arn:connections-table"]
        "dynamodb:UpdateItem"           = ["arn:tasks-table"]
        "execute-api:ManageConnections" = ["arn:aws:execute-api:eu-central-1:123456789012:api123/live/POST/@connections/*"]
        "sqs:ReceiveMessage"            = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks-dlq"]
      }
      authorizer = {}
    })
    error_message = "A role grants more, or less, than its function needs: ${jsonencode({ for f, r in output.roles : f => r.may })}"
  }

  assert {
    condition = alltrue([
      aws_lambda_event_source_mapping.tasks.batch_size == 10,
      toset(aws_lambda_event_source_mapping.tasks.function_response_types) == toset(["ReportBatchItemFailures"]),
      aws_lambda_event_source_mapping.tasks.event_source_arn == output.stack.queues.tasks.arn,
    ])
    error_message = "The mapping must take batches of 10 from the tasks queue and let the worker report single failures."
  }

  assert {
    condition     = output.worker_concurrency_reserved == 200 && output.worker_concurrency_reserved >= aws_lambda_event_source_mapping.tasks.scaling_config[0].maximum_concurrency
    error_message = "Requests to the APIs must not be able to take the concurrency that the worker needs."
  }

  assert {
    condition     = output.stack.fault_injection == null
    error_message = "Fault injection must be off unless asked for."
  }

  assert {
    condition = jsonencode(output.audit_schedule_role.may) == jsonencode({
      "lambda:InvokeFunction" = ["arn:aws:lambda:eu-central-1:123456789012:function:some-function"]
    })
    error_message = "The auditor's schedule may invoke the auditor, and nothing else: ${jsonencode(output.audit_schedule_role)}"
  }

  assert {
    condition     = one(module.audit_schedule[*].expression) == "rate(1 minute)"
    error_message = "Dead letters must be looked at every minute by default."
  }

  assert {
    condition = (
      module.alarms.queue_age_seconds_max == 2 * module.task_queue.visibility_timeout_seconds &&
      module.alarms.queue_age_seconds_max < 3 * module.task_queue.visibility_timeout_seconds
    )
    error_message = "Tasks that a worker gets and does not do never look older than three visibility timeouts: an alarm above that does not ring."
  }

  assert {
    condition     = output.authorizer_cache_seconds == 60
    error_message = "docs/api.md says for how long a verdict is kept by default."
  }
}

run "the_auditors_schedule_can_be_switched_off" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    audit_schedule = null
  }

  assert {
    condition     = length(module.audit_schedule) == 0 && output.audit_schedule_role == null
    error_message = "Without a schedule there must be neither a schedule nor its role."
  }
}

run "where_times_are_short_a_task_that_is_merely_tried_again_rings_nothing" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    worker_timeout_seconds = 1
  }

  assert {
    condition     = module.alarms.queue_age_seconds_max == 60
    error_message = "Two visibility timeouts are 12 s here: a minute is the least."
  }
}

run "the_stack_object_has_the_shape_that_its_readers_expect" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    fault_injection        = true
    worker_timeout_seconds = 20
  }

  assert {
    condition = output.stack == {
      region        = "eu-central-1"
      account_id    = "123456789012"
      http_url      = "https://http123.execute-api.eu-central-1.amazonaws.com"
      websocket_url = "wss://api123.execute-api.eu-central-1.amazonaws.com/live"
      http_api      = { id = "http123", stage = "$default" }
      websocket_api = { id = "api123", stage = "live" }
      functions = {
        for function, timeout in {
          submit-task = 10, list-tasks = 10, process-task = 20, websocket = 10, audit-dead-letters = 60, authorizer = 5
          } : function => {
          name            = "test-${function}"
          arn             = "arn:aws:lambda:eu-central-1:123456789012:function:some-function"
          role_arn        = "arn:aws:iam::123456789012:role/some-role"
          timeout_seconds = timeout
        }
      }
      queues = {
        tasks = {
          url                        = "https://sqs.test/test-tasks"
          arn                        = "arn:aws:sqs:eu-central-1:123456789012:test-tasks"
          visibility_timeout_seconds = 120
          max_receive_count          = 5
        }
        tasks-dlq = {
          url = "https://sqs.test/test-tasks-dlq"
          arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks-dlq"
        }
      }
      tables = {
        tasks       = { name = "test-tasks", arn = "arn:tasks-table" }
        connections = { name = "test-connections", arn = "arn:connections-table" }
      }
      event_source_mapping_id = "0192b1d3-mapping"
      fault_injection = {
        role_arn = "arn:aws:iam::123456789012:role/some-role"
        bucket   = "test-fault-injection-123456789012"
        prefix   = "FisConfigs/"
      }
      auth = { issuer = "https://issuer.test", audience = "tasks" }
    }
    error_message = "The stack object differs from docs/architecture.md: ${jsonencode(output.stack)}"
  }

  assert {
    condition = alltrue([
      for role in output.roles : (
        one(role.may["s3:ListBucket"]) == "arn:aws:s3:::some-bucket" &&
        one(role.may["s3:GetObject"]) == "arn:aws:s3:::some-bucket/FisConfigs/*"
      )
    ])
    error_message = "With fault injection on, every function must be able to read the active faults, and nothing else there."
  }
}

run "an_issuer_that_publishes_its_keys_is_known_by_their_address" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks     = null
    token_jwks_url = "https://issuer.test/.well-known/jwks.json"
  }

  assert {
    # As JSON, since equality would also compare how the collections are typed.
    condition     = jsonencode(local.token_keys) == jsonencode({ TOKEN_JWKS_URL = "https://issuer.test/.well-known/jwks.json" })
    error_message = "The authorizer must be told where the keys are, and no keys: ${jsonencode(local.token_keys)}"
  }
}

run "keys_that_are_not_for_the_authorizer_may_stand_beside_one_that_is" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"},{\"use\":\"enc\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}"
  }

  assert {
    condition     = jsonencode(keys(local.token_keys)) == jsonencode(["TOKEN_JWKS"])
    error_message = "One key that the authorizer can use is enough."
  }
}

run "keys_of_which_the_authorizer_can_use_none_are_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\"},{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"},{\"kty\":\"RSA\",\"n\":\"AQAB\"},{}]}"
  }

  expect_failures = [var.token_jwks]
}

run "an_rsa_key_of_2048_bits_is_taken" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks = jsonencode({ keys = [{ kty = "RSA", e = "AQAB", n = join("", [for letter in range(342) : "A"]) }] })
  }

  assert {
    condition     = jsonencode(keys(local.token_keys)) == jsonencode(["TOKEN_JWKS"])
    error_message = "RS256 is one of the two."
  }
}

run "keys_that_are_given_twice_are_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks_url = "https://issuer.test/.well-known/jwks.json"
  }

  expect_failures = [var.token_jwks]
}

run "a_stack_without_keys_is_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks = null
  }

  expect_failures = [var.token_jwks]
}

run "an_address_that_anyone_on_the_way_can_change_is_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    token_jwks     = null
    token_jwks_url = "http://issuer.test/.well-known/jwks.json"
  }

  expect_failures = [var.token_jwks_url]
}

run "a_limit_that_no_count_can_see_is_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    owner_index_shards            = 1
    tasks_in_flight_per_owner_max = 12501
  }

  expect_failures = [var.tasks_in_flight_per_owner_max]
}

run "a_reservation_below_what_the_worker_may_do_at_once_is_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    worker_concurrency_reserved = 49
  }

  expect_failures = [var.worker_concurrency_reserved]
}

run "a_private_key_a_slow_api_and_half_a_shard_are_refused" {
  command = plan

  module {
    source = "./modules/task-backend"
  }

  variables {
    name_prefix            = "has_underscore"
    token_jwks             = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"d\":\"secret\"}]}"
    token_issuer           = ""
    token_audience         = ""
    api_timeout_seconds    = 29
    audit_timeout_seconds  = 4
    owner_index_shards     = 1.5
    worker_concurrency_max = 1
  }

  expect_failures = [
    var.name_prefix,
    var.token_jwks,
    var.token_issuer,
    var.token_audience,
    var.api_timeout_seconds,
    var.audit_timeout_seconds,
    var.owner_index_shards,
    var.worker_concurrency_max,
  ]
}

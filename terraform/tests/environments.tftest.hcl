# The environments are thin: both deploy the same backend, and shortening times never bends a rule between them.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan

  override_resource {
    target = module.task_backend.module.task_queue.aws_sqs_queue.tasks
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks", url = "https://sqs.test/test-tasks" }
  }

  override_resource {
    target = module.task_backend.module.task_queue.aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks-dlq", url = "https://sqs.test/test-tasks-dlq" }
  }
}

variables {
  name_prefix         = "test"
  zip_dir             = "testing/zips"
  token_issuer        = "https://issuer.test"
  token_audience      = "tasks"
  token_jwks          = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}"
  endpoint            = "http://127.0.0.1:4566"
  region              = "eu-central-1"
  allowed_account_ids = ["123456789012"]

  authorizer_cache_seconds = 0
}

run "local_is_short_but_keeps_the_rules" {
  command = plan

  module {
    source = "./environments/local"
  }

  assert {
    condition     = output.stack.functions["process-task"].timeout_seconds == 1
    error_message = "The local worker must be quick to give up, so that retries are seen within a minute."
  }

  assert {
    condition     = output.stack.queues.tasks.visibility_timeout_seconds == 6 * output.stack.functions["process-task"].timeout_seconds
    error_message = "Visibility must be 6 x the worker's timeout here too."
  }

  assert {
    condition     = output.stack.queues.tasks.max_receive_count >= 5
    error_message = "A task must be tried 5 times here too."
  }

  assert {
    condition     = output.stack.fault_injection != null
    error_message = "Experiments run here: fault injection must be on."
  }

  assert {
    condition     = module.task_backend.authorizer_cache_seconds == 0
    error_message = "The authorizer must be asked every time where that is wanted."
  }

  assert {
    condition     = module.task_backend.worker_concurrency_reserved == -1
    error_message = "A reservation limits the rate of invocations too, which a load test here is not to meet."
  }
}

run "local_refuses_to_reach_beyond_this_machine_and_to_break_the_rules" {
  command = plan

  module {
    source = "./environments/local"
  }

  variables {
    endpoint = "http://127.0.0.1.example.com:4566"
  }

  expect_failures = [var.endpoint]
}

run "dev_takes_no_faults_unless_asked_to" {
  command = plan

  module {
    source = "./environments/dev"
  }

  assert {
    condition     = output.stack.fault_injection == null
    error_message = "Real clients are here: fault injection must be off."
  }

  assert {
    condition     = output.stack.queues.tasks.visibility_timeout_seconds == 6 * output.stack.functions["process-task"].timeout_seconds
    error_message = "Visibility must be 6 x the worker's timeout."
  }

  assert {
    condition     = module.task_backend.authorizer_cache_seconds == 0
    error_message = "docs/api.md names this variable to those who must be able to shut somebody out at once."
  }
}

run "dev_sets_the_workers_concurrency_aside" {
  command = plan

  module {
    source = "./environments/dev"
  }

  variables {
    worker_concurrency_max      = 100
    worker_concurrency_reserved = 300
  }

  assert {
    condition     = module.task_backend.worker_concurrency_reserved == 300
    error_message = "Requests to the APIs must not be able to take the concurrency that the worker needs."
  }
}

run "dev_needs_to_be_told_the_account" {
  command = plan

  module {
    source = "./environments/dev"
  }

  variables {
    allowed_account_ids = []
  }

  expect_failures = [var.allowed_account_ids]
}

run "dev_takes_the_address_of_the_keys_instead_of_the_keys" {
  command = plan

  module {
    source = "./environments/dev"
  }

  variables {
    token_jwks     = null
    token_jwks_url = "https://issuer.test/.well-known/jwks.json"
  }

  assert {
    condition     = output.stack.auth == { issuer = "https://issuer.test", audience = "tasks" }
    error_message = "A stack whose issuer publishes its keys must be as any other: ${jsonencode(output.stack.auth)}"
  }
}

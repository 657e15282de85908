# One function, one role, one log group, and no permission that was not asked for by name.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan
}

variables {
  stack           = { name_prefix = "test", zip_dir = "testing/zips", architecture = "arm64" }
  name            = "process-task"
  description     = "Does the work."
  timeout_seconds = 10
  environment     = { COLOUR = "green" }
  statements = [{
    sid       = "SendTasks"
    actions   = ["sqs:SendMessage"]
    resources = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
  }]
}

run "a_function_may_write_its_logs_and_what_was_granted" {
  command = plan

  module {
    source = "./modules/function"
  }

  assert {
    # As JSON, since equality would also compare how the collections are typed.
    condition = jsonencode(output.role.may) == jsonencode({
      "logs:CreateLogStream" = ["arn:aws:logs:eu-central-1:123456789012:log-group:some-group:*"]
      "logs:PutLogEvents"    = ["arn:aws:logs:eu-central-1:123456789012:log-group:some-group:*"]
      "sqs:SendMessage"      = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"]
    })
    error_message = "The role grants something else: ${jsonencode(output.role.may)}"
  }

  assert {
    condition = alltrue([
      aws_lambda_function.this.role == aws_iam_role.this.arn,
      aws_iam_role_policy.this.role == aws_iam_role.this.id,
      aws_iam_role.this.name == "test-process-task",
      one(flatten(data.aws_iam_policy_document.trust.statement[*].principals[*].identifiers[*])) == "lambda.amazonaws.com",
    ])
    error_message = "The function must run as its own role, which Lambda alone may take."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/test-process-task" && aws_cloudwatch_log_group.this.retention_in_days > 0
    error_message = "The function's log group must be ours and forget in time."
  }

  assert {
    condition = alltrue([
      aws_lambda_function.this.runtime == "provided.al2023",
      aws_lambda_function.this.architectures == tolist(["arm64"]),
      aws_lambda_function.this.source_code_hash == filebase64sha256("testing/zips/process-task.zip"),
      aws_lambda_function.this.environment[0].variables == tomap({ COLOUR = "green" }),
      aws_lambda_function.this.reserved_concurrent_executions == -1,
      length(aws_lambda_function.this.layers) == 0,
    ])
    error_message = "The function is not what was asked for, or carries a trace of fault injection."
  }
}

run "fault_injection_adds_the_layer_the_wiring_and_the_right_to_read_faults" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = {
      name_prefix     = "test"
      zip_dir         = "testing/zips"
      architecture    = "arm64"
      tracing_enabled = true
      fault_injection = {
        layer_arn              = "arn:aws:lambda:eu-central-1:210987654321:layer:aws-fis-extension-arm64:9"
        configuration_location = "arn:aws:s3:::faults/FisConfigs/"
        bucket_arn             = "arn:aws:s3:::faults"
        prefix                 = "FisConfigs/"
        poll_wait_max_ms       = 500
      }
    }
  }

  assert {
    condition = aws_lambda_function.this.environment[0].variables == tomap({
      COLOUR                             = "green"
      AWS_LAMBDA_EXEC_WRAPPER            = "/opt/aws-fis/bootstrap"
      AWS_FIS_CONFIGURATION_LOCATION     = "arn:aws:s3:::faults/FisConfigs/"
      AWS_FIS_EXTENSION_METRICS          = "all"
      AWS_FIS_POLL_MAX_WAIT_MILLISECONDS = "500"
    })
    error_message = "The extension is configured otherwise than AWS documents."
  }

  assert {
    condition     = aws_lambda_function.this.layers == tolist(["arn:aws:lambda:eu-central-1:210987654321:layer:aws-fis-extension-arm64:9"])
    error_message = "The extension layer is missing: faults would silently not happen."
  }

  assert {
    condition     = one(output.role.may["s3:ListBucket"]) == "arn:aws:s3:::faults" && one(output.role.may["s3:GetObject"]) == "arn:aws:s3:::faults/FisConfigs/*"
    error_message = "The function cannot read its faults, or can read more than them."
  }

  assert {
    condition = one(flatten([
      for statement in data.aws_iam_policy_document.permissions.statement : [
        for condition in statement.condition : condition.values if condition.variable == "s3:prefix"
      ]
    ])) == "FisConfigs/*"
    error_message = "Listing the bucket must be limited to the faults' prefix."
  }

  assert {
    condition     = one(output.role.may["xray:PutTraceSegments"]) == "*" && aws_lambda_function.this.tracing_config[0].mode == "Active"
    error_message = "Tracing was asked for."
  }
}

run "wildcards_are_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    statements = [{ sid = "Everything", actions = ["sqs:*"], resources = ["arn:aws:sqs:eu-central-1:123456789012:test-tasks"] }]
  }

  expect_failures = [var.statements]
}

run "granting_on_everything_and_values_that_lambda_does_not_know_are_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    name                 = "Upper"
    timeout_seconds      = 901
    reserved_concurrency = -2
    statements           = [{ sid = "Everywhere", actions = ["sqs:SendMessage"], resources = ["*"] }]
  }

  expect_failures = [
    var.name,
    var.timeout_seconds,
    var.reserved_concurrency,
    var.statements,
  ]
}

run "a_function_without_a_zip_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = { name_prefix = "test", zip_dir = "testing", architecture = "arm64" }
  }

  expect_failures = [var.stack]
}

run "an_instruction_set_that_lambda_does_not_have_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = { name_prefix = "test", zip_dir = "testing/zips", architecture = "riscv" }
  }

  expect_failures = [var.stack]
}

run "too_little_memory_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = { name_prefix = "test", zip_dir = "testing/zips", architecture = "arm64", memory_mb = 64 }
  }

  expect_failures = [var.stack]
}

run "keeping_logs_for_ever_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = { name_prefix = "test", zip_dir = "testing/zips", architecture = "arm64", log_retention_days = 0 }
  }

  expect_failures = [var.stack]
}

run "a_prefix_in_upper_case_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    stack = { name_prefix = "Test", zip_dir = "testing/zips", architecture = "arm64" }
  }

  expect_failures = [var.stack]
}

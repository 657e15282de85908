# FIS may turn faults on and off for our functions, and nothing else; nobody outside may see or plant one.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan
}

variables {
  name_prefix   = "test"
  architecture  = "arm64"
  function_arns = ["arn:aws:lambda:eu-central-1:123456789012:function:test-process-task"]
}

run "the_role_does_what_fis_documents_and_no_more" {
  command = plan

  module {
    source = "./modules/fault-injection"
  }

  assert {
    condition = {
      for statement in data.aws_iam_policy_document.permissions.statement :
      join(",", sort(statement.actions)) => tolist(statement.resources)
      } == {
      "s3:DeleteObject,s3:PutObject" = tolist(["arn:aws:s3:::some-bucket/FisConfigs/*"])
      "lambda:GetFunction"           = tolist(["arn:aws:lambda:eu-central-1:123456789012:function:test-process-task"])
      "tag:GetResources"             = tolist(["*"])
      "cloudwatch:DescribeAlarms"    = tolist(["arn:aws:cloudwatch:eu-central-1:123456789012:alarm:*"])
    }
    error_message = "The experiments' role grants something else."
  }

  assert {
    condition = {
      for condition in data.aws_iam_policy_document.trust.statement[0].condition : condition.variable => one(condition.values)
      } == {
      "aws:SourceAccount" = "123456789012"
      "aws:SourceArn"     = "arn:aws:fis:eu-central-1:123456789012:experiment/*"
    }
    error_message = "Another account's experiment could borrow the role."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "The bucket must be closed to the public in all four ways."
  }

  assert {
    condition     = aws_s3_bucket.this.force_destroy
    error_message = "A fault left behind must not block a destroy."
  }

  assert {
    condition     = output.function_wiring.configuration_location == "arn:aws:s3:::some-bucket/FisConfigs/"
    error_message = "The extension takes an ARN with the prefix."
  }
}

run "faulting_any_function_is_refused" {
  command = plan

  module {
    source = "./modules/fault-injection"
  }

  variables {
    name_prefix      = "-"
    architecture     = "sparc"
    function_arns    = ["arn:aws:lambda:eu-central-1:123456789012:function:*"]
    poll_wait_max_ms = -1
  }

  expect_failures = [var.name_prefix, var.architecture, var.function_arns, var.poll_wait_max_ms]
}

locals {
  name     = "${var.stack.name_prefix}-${var.name}"
  zip_path = "${var.stack.zip_dir}/${var.name}.zip"

  # FIS Lambda actions reach a function only through their extension. Lambda ignores the exec wrapper on provided.*
  # runtimes; our bootstrap honours it itself.
  fault_injection_environment = var.stack.fault_injection == null ? {} : {
    AWS_LAMBDA_EXEC_WRAPPER            = "/opt/aws-fis/bootstrap"
    AWS_FIS_CONFIGURATION_LOCATION     = var.stack.fault_injection.configuration_location
    AWS_FIS_EXTENSION_METRICS          = "all" # FaultInjected is the proof of dose; the default is none
    AWS_FIS_POLL_MAX_WAIT_MILLISECONDS = tostring(var.stack.fault_injection.poll_wait_max_ms)
  }
}

# Made here and not by Lambda on first use, so that it has a retention and goes away with the stack.
resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.stack.log_retention_days
}

resource "aws_lambda_function" "this" {
  function_name = local.name
  description   = var.description
  role          = aws_iam_role.this.arn

  # Prebuilt: Terraform neither builds nor packs, so a plan never depends on a compiler.
  filename         = local.zip_path
  source_code_hash = filebase64sha256(local.zip_path)

  # OS-only runtime: the binary is the runtime. Lambda starts the file "bootstrap" and ignores the handler's name.
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.stack.architecture]

  timeout                        = var.timeout_seconds
  memory_size                    = var.stack.memory_mb # CPU grows with it: 1,769 MB is one vCPU
  reserved_concurrent_executions = var.reserved_concurrency
  layers                         = var.stack.fault_injection == null ? [] : [var.stack.fault_injection.layer_arn]

  environment {
    variables = merge(var.environment, local.fault_injection_environment)
  }

  tracing_config {
    mode = var.stack.tracing_enabled ? "Active" : "PassThrough"
  }

  # The first invocation must find its permissions and its log group.
  depends_on = [aws_iam_role_policy.this, aws_cloudwatch_log_group.this]
}

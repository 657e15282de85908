output "role_arn" {
  description = "Role that FIS experiments run as."
  value       = aws_iam_role.this.arn
}

output "bucket" {
  description = "Bucket with the active faults."
  value       = aws_s3_bucket.this.bucket
}

output "prefix" {
  description = "Where in the bucket the active faults are."
  value       = local.prefix
}

output "function_wiring" {
  description = "What the `function` module needs in order to be reached by faults."
  value = {
    layer_arn              = data.aws_ssm_parameter.extension_layer.insecure_value
    configuration_location = "${aws_s3_bucket.this.arn}/${local.prefix}" # an ARN: s3:// is not understood
    bucket_arn             = aws_s3_bucket.this.arn
    prefix                 = local.prefix
    poll_wait_max_ms       = var.poll_wait_max_ms
  }
}

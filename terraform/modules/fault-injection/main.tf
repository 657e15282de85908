# What AWS FIS needs to fault Lambda functions. The experiments themselves are made by whoever runs them: provider
# 5.100 does not know the target key `Functions` of aws_fis_experiment_template.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

# AWS publishes the extension per region, from accounts that differ; only this parameter knows the ARN.
data "aws_ssm_parameter" "extension_layer" {
  name = "/aws/service/fis/lambda-extension/AWS-FIS-extension-${var.architecture}/1.x.x"
}

locals {
  # Fixed by AWS in the documented policies.
  prefix = "FisConfigs/"

  arn_suffix = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

# FIS writes the active faults here, and the extension inside each function reads them.
resource "aws_s3_bucket" "this" {
  # Bucket names are global; the account id makes it ours.
  bucket = "${var.name_prefix}-fault-injection-${data.aws_caller_identity.current.account_id}"

  # It holds nothing but faults in flight. One left behind by a broken experiment must not block a destroy.
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "LetExperimentsOfThisAccountRunAsThisRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["fis.amazonaws.com"]
    }

    # Another account's experiment must not borrow this role through FIS.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:fis:${local.arn_suffix}:experiment/*"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.name_prefix}-fault-injection"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "permissions" {
  statement {
    sid       = "TurnFaultsOnAndOff"
    actions   = ["s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.this.arn}/${local.prefix}*"]
  }

  statement {
    sid       = "LookAtTheFunctionsToFault"
    actions   = ["lambda:GetFunction"]
    resources = var.function_arns
  }

  statement {
    sid       = "FindTargetsByTag"
    actions   = ["tag:GetResources"]
    resources = ["*"] # the tagging API has no resources to name
  }

  statement {
    sid       = "WatchStopConditions"
    actions   = ["cloudwatch:DescribeAlarms"]
    resources = ["arn:${data.aws_partition.current.partition}:cloudwatch:${local.arn_suffix}:alarm:*"]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "permissions"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.permissions.json
}

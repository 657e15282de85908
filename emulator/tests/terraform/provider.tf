# Common to the configurations of this folder: the test copies it into each.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "endpoint" {
  type = string
}

variable "zip" {
  type        = string
  description = "A deployment package of a function."
}

variable "other_zip" {
  type        = string
  description = "A deployment package with other content."
}

variable "step" {
  type        = number
  default     = 0
  description = "0 creates. 1 changes every argument that can be changed in place. 2 takes away what is optional."
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true
  max_retries                 = 1

  endpoints {
    apigateway   = var.endpoint
    apigatewayv2 = var.endpoint
    cloudwatch   = var.endpoint
    dynamodb     = var.endpoint
    fis          = var.endpoint
    iam          = var.endpoint
    lambda       = var.endpoint
    logs         = var.endpoint
    s3           = var.endpoint
    scheduler    = var.endpoint
    sqs          = var.endpoint
    ssm          = var.endpoint
    sts          = var.endpoint
  }

  default_tags {
    tags = { suite = "provider" }
  }
}

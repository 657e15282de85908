# No back end: state lies beside the configuration, or in the copy of it that a stack is made from.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

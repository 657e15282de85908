# Root of the tests in tests/, which apply the modules and environments to a mocked provider. It holds no resources.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

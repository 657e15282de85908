terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # State beside the configuration, or wherever -backend-config="path=..." says: the emulator forgets, so may the state.
  backend "local" {}
}

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key and region come from -backend-config: one configuration serves any account.
  backend "s3" {
    encrypt      = true
    use_lockfile = true # two applies at once would tear the state; S3 holds the lock itself
  }
}

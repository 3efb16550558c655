# A bucket for workspaces and releases, and two roles: one that runs write with, one that training jobs read with.
#
#   terraform init && terraform apply -var bucket=company-text

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.80"
    }
  }
}

variable "bucket" {
  description = "The bucket's name."
  type        = string
}

variable "work" {
  description = "The prefix of all workspaces, with its slash: work = \"s3://BUCKET/work/NAME\" in recipes."
  type        = string
  default     = "work/"
}

variable "releases" {
  description = "The prefix of all releases, with its slash: release.to = \"s3://BUCKET/releases\" in recipes."
  type        = string
  default     = "releases/"
}

variable "inputs" {
  description = "ARNs of the buckets that sources are read from."
  type        = list(string)
  default     = []
}

variable "trust" {
  description = "The cluster's OIDC provider (ARN, and issuer without https://); null: instances take the roles."
  type        = object({ arn = string, issuer = string })
  default     = null
}

variable "keep_versions_days" {
  description = "Days after which what was replaced or deleted is gone for good. `curate forget` counts on it."
  type        = number
  default     = 30
}

module "policies" {
  source     = "./policies"
  bucket_arn = aws_s3_bucket.text.arn
  work       = var.work
  releases   = var.releases
  inputs     = var.inputs
  trust      = var.trust
}

resource "aws_s3_bucket" "text" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "text" {
  bucket                  = aws_s3_bucket.text.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "text" {
  bucket = aws_s3_bucket.text.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "text" {
  bucket = aws_s3_bucket.text.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "text" {
  bucket = aws_s3_bucket.text.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "text" {
  bucket     = aws_s3_bucket.text.id
  depends_on = [aws_s3_bucket_versioning.text]

  rule {
    id     = "half-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  rule {
    id     = "replaced-workspaces"
    status = "Enabled"
    filter {
      prefix = var.work
    }
    noncurrent_version_expiration {
      noncurrent_days = 1 # a part can be made again
    }
  }

  rule {
    id     = "replaced-releases"
    status = "Enabled"
    filter {
      prefix = var.releases
    }
    noncurrent_version_expiration {
      noncurrent_days = var.keep_versions_days
    }
  }

  rule {
    id     = "nothing-but-a-delete-marker"
    status = "Enabled"
    filter {}
    expiration {
      expired_object_delete_marker = true
    }
  }
}

resource "aws_s3_bucket_policy" "text" {
  bucket     = aws_s3_bucket.text.id
  policy     = module.policies.bucket
  depends_on = [aws_s3_bucket_public_access_block.text]
}

resource "aws_iam_role" "writer" {
  name               = "curate-writer"
  assume_role_policy = module.policies.assume["writer"]
}

resource "aws_iam_role_policy" "writer" {
  name   = "curate-writer"
  role   = aws_iam_role.writer.id
  policy = module.policies.writer
}

resource "aws_iam_role" "reader" {
  name               = "curate-reader"
  assume_role_policy = module.policies.assume["reader"]
}

resource "aws_iam_role_policy" "reader" {
  name   = "curate-reader"
  role   = aws_iam_role.reader.id
  policy = module.policies.reader
}

output "writer_role" {
  description = "ARN of the role for runs."
  value       = aws_iam_role.writer.arn
}

output "reader_role" {
  description = "ARN of the role for training jobs."
  value       = aws_iam_role.reader.arn
}

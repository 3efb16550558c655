# What the two roles may do, as documents alone: no provider is needed to look at them (tests/test_infra.py does).

variable "bucket_arn" {
  description = "The bucket's ARN."
  type        = string
}

variable "work" {
  description = "The prefix of all workspaces, with its slash."
  type        = string
}

variable "releases" {
  description = "The prefix of all releases, with its slash."
  type        = string
}

variable "inputs" {
  description = "ARNs of the buckets that sources are read from."
  type        = list(string)
}

variable "trust" {
  description = "The namespace's OIDC provider: ARN and issuer without https://; null where instances take the roles."
  type        = object({ arn = string, issuer = string })
}

locals {
  writes = ["${var.bucket_arn}/${var.work}*", "${var.bucket_arn}/${var.releases}*"]
}

output "writer" {
  description = "For runs: reads inputs, reads and writes workspaces and releases; changes nothing of the bucket itself."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = concat(local.writes, ["${var.bucket_arn}/.curate-tried-*"])
      },
      {
        Sid      = "Lists"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [var.bucket_arn]
      },
      ], length(var.inputs) == 0 ? [] : [
      {
        Sid      = "Inputs"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:ListBucket"]
        Resource = flatten([for arn in var.inputs : [arn, "${arn}/*"]])
      },
    ])
  })
}

output "reader" {
  description = "For training jobs: reads releases, and nothing else: no workspace, where texts are that were not to go out."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${var.bucket_arn}/${var.releases}*"]
      },
      {
        Sid       = "Lists"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [var.bucket_arn]
        Condition = { StringLike = { "s3:prefix" = ["${var.releases}*"] } }
      },
    ]
  })
}

output "bucket" {
  description = "The bucket's own policy: nobody without TLS."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [var.bucket_arn, "${var.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

output "assume" {
  description = "Who takes each role: a service account of the namespace `curate`, or an instance."
  value = {
    for role, account in { writer = "curate-writer", reader = "curate-reader" } : role => jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Effect    = "Allow"
          Action    = var.trust == null ? "sts:AssumeRole" : "sts:AssumeRoleWithWebIdentity"
          Principal = var.trust == null ? { Service = "ec2.amazonaws.com" } : { Federated = var.trust.arn }
          Condition = var.trust == null ? {} : {
            StringEquals = {
              "${var.trust.issuer}:sub" = "system:serviceaccount:curate:${account}"
              "${var.trust.issuer}:aud" = "sts.amazonaws.com"
            }
          }
        },
      ]
    })
  }
}

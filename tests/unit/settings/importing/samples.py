"""Projects as CodeBuild answers and as templates have them, in the words that people really use."""

from __future__ import annotations

from typing import Any

ANSWER: dict[str, Any] = {
    "name": "web",
    "arn": "arn:aws:codebuild:us-east-1:123456789012:project/web",
    "description": "The shop: front & back",
    "source": {
        "type": "GITHUB",
        "location": "https://github.com/acme/web.git",
        "gitCloneDepth": 1,
        "gitSubmodulesConfig": {"fetchSubmodules": False},
        "buildspec": "ci/buildspec.yml",
        "auth": {"type": "CODECONNECTIONS", "resource": "arn:aws:codeconnections:us-east-1:123456789012:connection/x"},
        "reportBuildStatus": True,
        "buildStatusConfig": {"context": "ci/$AWS_REGION"},
        "insecureSsl": False,
    },
    "secondarySources": [],
    "sourceVersion": "refs/heads/main",
    "secondarySourceVersions": [],
    "artifacts": {"type": "S3", "location": "acme-out", "packaging": "ZIP", "namespaceType": "BUILD_ID", "name": "web"},
    "secondaryArtifacts": [],
    "cache": {"type": "LOCAL", "modes": ["LOCAL_DOCKER_LAYER_CACHE"]},
    "environment": {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [
            {"name": "STAGE", "value": "1.10", "type": "PLAINTEXT"},
            {"name": "DB_PASSWORD", "value": "hunter2", "type": "PLAINTEXT"},
            {"name": "KEY", "value": "/ci/key", "type": "PARAMETER_STORE"},
        ],
        "privilegedMode": True,
        "fleet": {"fleetArn": "arn:aws:codebuild:us-east-1:123456789012:fleet/x"},
        "imagePullCredentialsType": "CODEBUILD",
    },
    "serviceRole": "arn:aws:iam::123456789012:role/web",
    "timeoutInMinutes": 60,
    "queuedTimeoutInMinutes": 480,
    "encryptionKey": "arn:aws:kms:us-east-1:123456789012:alias/aws/s3",
    "tags": [{"key": "team", "value": "web"}],
    "created": "2024-01-01T00:00:00Z",
    "lastModified": "2024-01-01T00:00:00Z",
    "webhook": {
        "url": "https://api.github.com/repos/acme/web/hooks/1",
        "payloadUrl": "https://codebuild.us-east-1.amazonaws.com/webhooks?t=x",
        "secret": "s3cret",
        "filterGroups": [
            [
                {"type": "EVENT", "pattern": "PUSH", "excludeMatchedPattern": False},
                {"type": "HEAD_REF", "pattern": "^refs/heads/main$", "excludeMatchedPattern": False},
            ]
        ],
        "buildType": "BUILD_BATCH",
        "lastModifiedSecret": "2024-01-01T00:00:00Z",
        "status": "ACTIVE",
    },
    "vpcConfig": {"vpcId": "vpc-1", "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    "badge": {"badgeEnabled": False},
    "logsConfig": {
        "cloudWatchLogs": {"status": "ENABLED", "groupName": "/ci/web"},
        "s3Logs": {"status": "DISABLED", "encryptionDisabled": False},
    },
    "fileSystemLocations": [],
    "buildBatchConfig": {"serviceRole": "arn:aws:iam::123456789012:role/batch", "timeoutInMins": 60},
    "projectVisibility": "PRIVATE",
    "someday": {"new": True},
}

PLAIN = """\
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Stage: {Type: String, Default: test}
  DbPassword: {Type: String, NoEcho: true, Default: hunter2}
  Subnets: {Type: "List<AWS::EC2::Subnet::Id>"}
  Modes: {Type: CommaDelimitedList, Default: "LOCAL_SOURCE_CACHE,LOCAL_CUSTOM_CACHE"}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsNotProd: !Not [!Condition IsProd]
Mappings:
  Sizes:
    test: {Compute: BUILD_GENERAL1_SMALL}
    prod: {Compute: BUILD_GENERAL1_LARGE}
Resources:
  Out:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Sub "acme-${Stage}-out"}
  Logs: {Type: AWS::S3::Bucket}
  Role:
    Type: AWS::IAM::Role
    Properties: {RoleName: web-build}
  Repository:
    Type: AWS::CodeCommit::Repository
    Properties: {RepositoryName: web}
  Build:
    Type: AWS::CodeBuild::Project
    Properties:
      Name: !Sub "web-${Stage}"
      ServiceRole: !GetAtt Role.Arn
      Source:
        Type: CODECOMMIT
        Location: !GetAtt Repository.CloneUrlHttp
        BuildSpec: |
          version: 0.2
          phases:
            build:
              commands:
                - make test   # all of it
      Artifacts: {Type: S3, Location: !Ref Out, Packaging: ZIP, Name: !Join ["-", [web, !Ref Stage]]}
      Cache: {Type: LOCAL, Modes: !Ref Modes}
      Environment:
        Type: LINUX_CONTAINER
        ComputeType: !FindInMap [Sizes, !Ref Stage, Compute]
        Image: debian:12
        PrivilegedMode: !If [IsNotProd, true, false]
        EnvironmentVariables:
          - {Name: COUNT, Value: "010"}
          - {Name: LITERAL, Value: !Sub "${!Stage} ${Stage}"}
          - {Name: PART, Value: !Select [1, !Split [".", "a.b.c"]]}
          - {Name: DB_PASSWORD, Value: !Ref DbPassword}
          - {Name: API, Value: "{{resolve:secretsmanager:ci/token:SecretString:key}}"}
          - {Name: HOST, Value: "{{resolve:ssm:/web/host:3}}"}
          - !If [IsProd, {Name: ONLY_IN_PROD, Value: "1"}, !Ref AWS::NoValue]
      VpcConfig: {VpcId: !ImportValue net-vpc, Subnets: !Ref Subnets, SecurityGroupIds: [!GetAtt Group.GroupId]}
      LogsConfig:
        S3Logs: {Status: ENABLED, Location: !Sub "${Logs}/web"}
      Triggers:
        Webhook: true
        FilterGroups: [[{Type: EVENT, Pattern: PUSH}, {Type: HEAD_REF, Pattern: !Sub "^refs/heads/${Stage}$"}]]
  Group: {Type: AWS::EC2::SecurityGroup, Properties: {}}
"""

CDK: dict[str, Any] = {
    "Resources": {
        "Bucket83908E77": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "BuildRoleB7C66CB2": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
        "Build45A36621": {
            "Type": "AWS::CodeBuild::Project",
            "Properties": {
                "Artifacts": {
                    "Location": {"Ref": "Bucket83908E77"},
                    "NamespaceType": "BUILD_ID",
                    "Packaging": "ZIP",
                    "Type": "S3",
                },
                "Cache": {"Type": "NO_CACHE"},
                "EncryptionKey": "alias/aws/s3",
                "Environment": {
                    "ComputeType": "BUILD_GENERAL1_SMALL",
                    "EnvironmentVariables": [
                        {
                            "Name": "REPOSITORY",
                            "Type": "PLAINTEXT",
                            "Value": {
                                "Fn::Join": [
                                    "",
                                    [
                                        {"Ref": "AWS::AccountId"},
                                        ".dkr.ecr.",
                                        {"Ref": "AWS::Region"},
                                        ".",
                                        {"Ref": "AWS::URLSuffix"},
                                        "/web",
                                    ],
                                ]
                            },
                        }
                    ],
                    "Image": "aws/codebuild/standard:7.0",
                    "ImagePullCredentialsType": "CODEBUILD",
                    "PrivilegedMode": False,
                    "Type": "LINUX_CONTAINER",
                },
                "ServiceRole": {"Fn::GetAtt": ["BuildRoleB7C66CB2", "Arn"]},
                "Source": {
                    "BuildSpec": '{\n  "version": "0.2",\n  "phases": {"build": {"commands": ["echo \\"hi\\""]}}\n}',
                    "Location": "https://github.com/acme/web.git",
                    "ReportBuildStatus": True,
                    "Type": "GITHUB",
                },
                "Triggers": {
                    "FilterGroups": [[{"Pattern": "PUSH", "Type": "EVENT"}]],
                    "Webhook": True,
                },
            },
            "Metadata": {"aws:cdk:path": "Stack/Build/Resource"},
        },
        "CDKMetadata": {"Type": "AWS::CDK::Metadata", "Condition": "CDKMetadataAvailable"},
    },
    "Conditions": {
        "CDKMetadataAvailable": {"Fn::Or": [{"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-central-1"]}]},
    },
    "Parameters": {"BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/cdk-bootstrap/v"}},
}

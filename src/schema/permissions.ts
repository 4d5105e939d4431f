// Who may reach which field: the one table. `guardSchema` (guard.ts) applies it and refuses to serve a schema with a field that is not in it, so that nothing
// becomes readable by being forgotten. Agent tokens are in no column: they reach nothing here.

import type { NeededRole } from "../access/roles.js";

/** Least role → fields, separated by spaces, by type. */
export const PERMISSIONS: Readonly<Record<string, Partial<Record<NeededRole, string>>>> = {
  Query: {
    viewer: "viewer node pipeline pipelines stage agent agents sshHosts queues events evaluations compareEvaluations datasets dataset datasetDiff validatePipeline trainingJob trainingJobs recipes recipe",
    admin: "tokens audit webhooks",
  },
  Mutation: {
    operator:
      "submitPipeline cancelPipeline pausePipeline resumePipeline retryPipeline retryStage cancelStage approveStage forkPipeline " +
      "drainAgent undrainAgent checkSshHost pinCheckpoint unpinCheckpoint deleteCheckpoint registerDataset createTrainingJob",
    admin: "createToken revokeToken addSshHost removeSshHost deployHostAgent removeHostAgent createWebhook deleteWebhook testWebhook",
  },
  Subscription: { viewer: "pipelineEvents fleetEvents stageMetrics stageLogs jobMetrics anomalies" },

  Viewer: { viewer: "tokenId name role expiresAt" },
  Pipeline: { viewer: "id name status labels spec stages stage stageCounts layers events head forkedFrom error simulated createdBy createdAt startedAt finishedAt" },
  PipelineConnection: { viewer: "edges pageInfo" },
  PipelineEdge: { viewer: "node cursor" },
  PageInfo: { viewer: "hasNextPage hasPreviousPage startCursor endCursor" },
  Stage: {
    viewer:
      "id name kind status pipeline dependsOn queue priority params outputs attempts waitReasons progress error reason startedAt finishedAt " +
      "metricNames metrics checkpoints evaluations logs datasetsMade datasetsRead trainingJob simulated",
  },
  Progress: { viewer: "step totalSteps etaSeconds" },
  StageError: { viewer: "code message hint exitCode logTail" },
  Attempt: { viewer: "id number status stage agent command error diagnosis startedAt finishedAt lastHeartbeatAt" },
  Diagnosis: { viewer: "cause evidence suggestion createdAt" },
  MetricSeries: { viewer: "name points" },
  MetricPoint: { viewer: "step at value nonFinite" },
  LogSlice: { viewer: "fromByte toByte text skippedBytes totalBytes" },
  Checkpoint: { viewer: "id stage step path host sizeBytes metrics isBest isPinned simulated deletedAt createdAt" },
  Evaluation: { viewer: "id stage checkpoint dataset datasetName scores intervals sampleCount errorCount sampleSet samples simulated createdAt" },
  ScoreInterval: { viewer: "score value n low high level method" },
  EvaluationComparison: { viewer: "from to simulated compared fixedCount brokenCount unchangedCount onlyInFrom onlyInTo fromMean toMean difference low high pValue test leftOut changes" },
  SampleChangeConnection: { viewer: "edges pageInfo" },
  SampleChangeEdge: { viewer: "node cursor" },
  SampleChange: { viewer: "key change from to" },
  TrainingJob: {
    viewer: "id stage pipeline algorithm trainer model modelResolved simulated status metricNames metrics checkpoints best evaluations samples sampleSets anomalies memoryEstimate script createdAt",
  },
  TrainingJobConnection: { viewer: "edges pageInfo" },
  TrainingJobEdge: { viewer: "node cursor" },
  Sample: { viewer: "source step attempt key prompt output truth score nonFinite error verdict" },
  SampleSet: { viewer: "source step attempt kept leftOut correct wrong errors unscored" },
  SampleConnection: { viewer: "edges pageInfo" },
  SampleEdge: { viewer: "node cursor" },
  MemoryEstimate: { viewer: "bytesPerGpu error parts parameters gpus gpuBytes" },
  MemoryPart: { viewer: "name bytesPerGpu how" },
  Recipe: { viewer: "name title algorithm model task gpus nodes gpuModel params releases source pipeline" },
  Anomaly: { viewer: "id trainingJob attempt kind severity step metric value nonFinite threshold message suggestion action would reason createdAt" },
  Dataset: {
    viewer: "id name version path format contentHash rows unreadableRows sizeBytes columns tasks suitableFor statistics preview page files madeBy readBy versions createdBy createdAt",
  },
  DatasetColumn: { viewer: "name type nullCount" },
  DatasetFile: { viewer: "host path seenAt" },
  DatasetPage: { viewer: "rows from source note" },
  DatasetConnection: { viewer: "edges pageInfo" },
  DatasetEdge: { viewer: "node cursor" },
  DatasetDiff: { viewer: "from to sameContent rowsSame rowsAdded rowsRemoved columns lengths categories added removed" },
  DatasetColumnChange: { viewer: "name change from to" },
  DatasetLengthShift: { viewer: "kind name from to" },
  DatasetCategoryShift: { viewer: "column from to distance" },
  DatasetDiffRow: { viewer: "row value" },
  Agent: { viewer: "id name status labels queues pools gpus versions problem runMode draining running lastHeartbeatAt" },
  SshHost: {
    viewer: "id name host port username credential jump workingDirectory pythonEnvironment commandPrefix environmentNames hostKeyFingerprint keyAlarm servedBy agent deployment createdBy createdAt",
  },
  HostDeployment: { viewer: "state release version supervision runningSince steps error notes orderedBy orderedAt" },
  HostDeploymentStep: { viewer: "name state detail bytesDone bytesTotal etaSeconds" },
  HostDeploymentError: { viewer: "code message" },
  SshKeyAlarm: { viewer: "at fingerprint" },
  AgentQueue: { viewer: "name concurrency running" },
  AgentPool: { viewer: "queues concurrency running" },
  Gpu: { viewer: "index model memoryTotalMiB memoryUsedMiB utilizationPercent heldBy" },
  QueueInfo: { viewer: "name waiting running capacity" },
  ValidationReport: { viewer: "ok problems layers" },
  Problem: { viewer: "path severity code message hint" },
  Token: { admin: "id name role agentName createdBy createdAt expiresAt lastUsedAt revokedAt" },
  Webhook: { admin: "id name format events url createdBy createdAt deliveries" },
  WebhookDelivery: { admin: "id event tries nextAt deliveredAt deadAt lastError createdAt" },
  CreateWebhookPayload: { admin: "webhook secret" },
  WebhookPayload: { admin: "webhook" },
  TestWebhookPayload: { admin: "delivery" },
  AuditEntry: { admin: "id at actor tokenId role action subject input outcome code requestId address" },
  AuditConnection: { admin: "edges pageInfo" },
  AuditEdge: { admin: "node cursor" },

  SubmitPipelinePayload: { operator: "pipeline cursor warnings" },
  PipelinePayload: { operator: "pipeline cursor" },
  AgentPayload: { operator: "agent" },
  CheckpointPayload: { operator: "checkpoint" },
  RegisterDatasetPayload: { operator: "dataset" },
  CreateTrainingJobPayload: { operator: "trainingJob pipeline cursor warnings" },
  SshHostPayload: { admin: "sshHost" },
  SshCheckPayload: { operator: "ok report" },
  CreateTokenPayload: { admin: "token secret" },
  TokenPayload: { admin: "token" },
  // Also what a viewer reads whose mutation was refused.
  InvalidInputError: { viewer: "code message retryable problems" },
  NotFoundError: { viewer: "code message retryable" },
  ConflictError: { viewer: "code message retryable" },
  ForbiddenError: { viewer: "code message retryable" },

  PipelineEvent: { viewer: "cursor pipelineId seq type stage payload at" },
  Bookmark: { viewer: "cursor" },
  ResyncRequired: { viewer: "head" },
  MetricBatch: { viewer: "points dropped" },
  NamedMetricPoint: { viewer: "name step at value nonFinite" },
  LogChunk: { viewer: "fromByte toByte text skippedBytes" },
};

/** The least role for a field; null when the table does not know it. */
export function neededRole(type: string, field: string): NeededRole | null {
  const columns = PERMISSIONS[type];
  if (columns === undefined) return null;
  for (const role of ["viewer", "operator", "admin"] as const) if (columns[role]?.split(" ").includes(field) === true) return role;
  return null;
}

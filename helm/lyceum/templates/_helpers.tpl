{{- define "lyceum.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels that never change: (dict "root" $ "component" "chat") */}}
{{- define "lyceum.selector" -}}
app.kubernetes.io/name: lyceum
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "lyceum.labels" -}}
{{ include "lyceum.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "lyceum.image" -}}
{{ required "set image.repository to where you pushed the image of deploy/Dockerfile" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* A variable from the Secret: (dict "root" $ "name" "DATABASE_PASSWORD" "key" "DATABASE_PASSWORD_CHAT") */}}
{{- define "lyceum.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ required "set existingSecret" .root.Values.existingSecret }}
      key: {{ .key }}
{{- end }}

{{/* A URL with the keys of the Secret that it names: (dict "root" $ "name" "REDIS_URL" "value" …). The keys come first,
because Kubernetes expands what stands above only. */}}
{{- define "lyceum.url" -}}
{{- range regexFindAll "\\$\\([A-Z0-9_]+\\)" .value -1 | uniq }}
{{- $key := . | trimPrefix "$(" | trimSuffix ")" }}
{{ include "lyceum.secret" (dict "root" $.root "name" $key "key" $key) }}
{{- end }}
- name: {{ .name }}
  value: {{ .value | quote }}
{{- end }}

{{/* What the gateway and the services read alike. */}}
{{- define "lyceum.commonEnv" -}}
- name: PUBLIC_URL
  value: {{ required "set publicUrl" .Values.publicUrl | quote }}
- name: LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: LYCEUM_LIMIT_SCALE
  value: {{ .Values.limitScale | quote }}
- name: AUTH_URL
  value: http://{{ include "lyceum.name" . }}-auth:8080
{{ include "lyceum.url" (dict "root" . "name" "REDIS_URL" "value" (required "set servers.redis" .Values.servers.redis)) | trim }}
{{- end }}

{{/* The restricted Pod Security Standard; the root folder is read-only, /tmp is a volume. */}}
{{- define "lyceum.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "lyceum.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Placing: (dict "root" $ "component" "chat") */}}
{{- define "lyceum.placing" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "lyceum.selector" . | nindent 8 }}
{{- end }}

{{/* A process takes at most 20 s to stop; the pause before is for those who still have its address. */}}
{{- define "lyceum.stopping" -}}
terminationGracePeriodSeconds: 35
{{- end }}

{{/* Start, probes and stop: (dict "scheme" "HTTP" "startSeconds" 180); in `scheme` the port `http` is spoken to. */}}
{{- define "lyceum.containerLife" -}}
lifecycle:
  preStop: { exec: { command: [sleep, '5'] } }
# A start may wait a minute for the servers, and then migrates; nothing answers before that is done.
startupProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ .scheme }} }
  periodSeconds: 2
  failureThreshold: {{ div .startSeconds 2 }}
livenessProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ .scheme }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: http, scheme: {{ .scheme }} }
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 2
{{- end }}

{{/* Keeps one pod at a time from being evicted, and scales if asked to: (dict "root" $ "component" "chat" "config" …) */}}
{{- define "lyceum.availability" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "lyceum.name" .root }}-{{ .component }}
  labels: {{- include "lyceum.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "lyceum.selector" . | nindent 6 }}
{{- if .config.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "lyceum.name" .root }}-{{ .component }}
  labels: {{- include "lyceum.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "lyceum.name" .root }}-{{ .component }}
  minReplicas: {{ .config.autoscaling.minReplicas }}
  maxReplicas: {{ .config.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ .config.autoscaling.cpuPercent }} }
{{- end }}
{{- end }}

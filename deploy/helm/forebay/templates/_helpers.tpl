{{/* Names. */}}
{{- define "forebay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters: StatefulSets add a hash to the name for a label of 63, and pods a number. */}}
{{- define "forebay.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "forebay.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "forebay.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "forebay.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "forebay.headless" -}}
{{ include "forebay.fullname" . }}-headless
{{- end }}

{{- define "forebay.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "forebay.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "forebay.selector" -}}
app.kubernetes.io/name: {{ include "forebay.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "forebay.labels" -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "forebay.image" -}}
{{- $image := .Values.image }}
{{- $name := ternary (printf "%s/%s" $image.registry $image.repository) $image.repository (ne $image.registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* "true" where the pods talk to each other. */}}
{{- define "forebay.clustered" -}}
{{- if ne .Values.cluster.discovery "none" }}true{{ end }}
{{- end }}

{{- define "forebay.mtls" -}}
{{- if and (include "forebay.clustered" .) .Values.cluster.tls.enabled }}true{{ end }}
{{- end }}

{{/* existingSecret, certManager or selfSigned. */}}
{{- define "forebay.tlsSource" -}}
{{- $tls := .Values.cluster.tls }}
{{- if ne $tls.source "auto" }}
{{- if and (eq $tls.source "existingSecret") (not $tls.existingSecret) }}
{{- fail "cluster.tls.source is existingSecret: set cluster.tls.existingSecret to the Secret with tls.crt, tls.key and ca.crt" }}
{{- end }}
{{- $tls.source }}
{{- else if $tls.existingSecret }}existingSecret
{{- else if or $tls.certManager.issuerRef (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}certManager
{{- else }}selfSigned
{{- end }}
{{- end }}

{{- define "forebay.tlsSecret" -}}
{{- if eq (include "forebay.tlsSource" .) "existingSecret" }}
{{- .Values.cluster.tls.existingSecret }}
{{- else }}
{{- include "forebay.fullname" . }}-transfer
{{- end }}
{{- end }}

{{- define "forebay.serverName" -}}
{{- default (include "forebay.fullname" .) .Values.cluster.tls.serverName }}
{{- end }}

{{/* storage.max_disk: a part of the volume, in MiB. */}}
{{- define "forebay.maxDisk" -}}
{{- $size := .Values.persistence.size }}
{{- $unit := regexFind "[MGT]i$" $size }}
{{- $mib := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 }}
{{- $number := regexFind "^[0-9]+" $size | int64 }}
{{- printf "%dMiB" (div (mul $number (get $mib $unit) .Values.storage.maxDiskPercent) 100) }}
{{- end }}

{{/* The configuration file: what the chart knows, with .Values.config over it. */}}
{{- define "forebay.config" -}}
{{- $listen := dict "ingest" "0.0.0.0:9090" "admin" "0.0.0.0:9091" }}
{{- if .Values.otlp.grpc.enabled }}
{{- $_ := set $listen "otlp_grpc" "0.0.0.0:4317" }}
{{- end }}
{{- $config := dict "durability" .Values.durability "listen" $listen }}
{{- $_ := set $config "storage" (dict "dir" "/var/lib/forebay/data" "max_disk" (include "forebay.maxDisk" .)) }}
{{- if .Values.databases }}
{{- $_ := set $config "databases" .Values.databases }}
{{- end }}
{{- if include "forebay.clustered" . }}
{{- $_ := set $listen "transfer" "0.0.0.0:9092" }}
{{- $cluster := dict "discovery" .Values.cluster.discovery }}
{{- if eq .Values.cluster.discovery "dns" }}
{{- $domain := printf "%s.svc.%s" (include "forebay.namespace" .) .Values.clusterDomain }}
{{- $_ := set $cluster "dns" (dict "service" (printf "_transfer._tcp.%s.%s" (include "forebay.headless" .) $domain)) }}
{{- else }}
{{- $selector := printf "app.kubernetes.io/name=%s,app.kubernetes.io/instance=%s" (include "forebay.name" .) .Release.Name }}
{{- $_ := set $cluster "kubernetes" (dict "label_selector" $selector) }}
{{- end }}
{{- if include "forebay.mtls" . }}
{{- $folder := "/etc/forebay/transfer-tls" }}
{{- $files := dict "cert_file" (printf "%s/tls.crt" $folder) "key_file" (printf "%s/tls.key" $folder) "ca_file" (printf "%s/ca.crt" $folder) }}
{{- $_ := set $cluster "transfer_tls" (merge $files (dict "server_name" (include "forebay.serverName" .))) }}
{{- end }}
{{- $_ := set $config "cluster" $cluster }}
{{- end }}
{{- range $port, $key := dict "ingest" "tls" "admin" "admin_tls" }}
{{- if get $.Values.tls (printf "%sSecret" $port) }}
{{- $folder := printf "/etc/forebay/%s-tls" $port }}
{{- $_ := set $listen $key (dict "cert_file" (printf "%s/tls.crt" $folder) "key_file" (printf "%s/tls.key" $folder)) }}
{{- end }}
{{- end }}
{{- if .Values.tls.ingestClientCertificates }}
{{- if not .Values.tls.ingestSecret }}{{ fail "tls.ingestClientCertificates needs tls.ingestSecret, with ca.crt" }}{{ end }}
{{- $_ := set $listen.tls "client_ca_file" "/etc/forebay/ingest-tls/ca.crt" }}
{{- end }}
{{- range $port, $key := dict "ingest" "auth" "admin" "admin_auth" }}
{{- if get $.Values.auth (printf "%sSecret" $port) }}
{{- $files := dict }}
{{- range get $.Values.auth (printf "%sKeys" $port) }}
{{- $_ := set $files (ternary "basic_file" "bearer_file" (eq . "users")) (printf "/etc/forebay/%s-auth/%s" $port .) }}
{{- end }}
{{- $_ := set $listen $key $files }}
{{- end }}
{{- end }}
{{- $config = mergeOverwrite $config (deepCopy .Values.config) }}
{{- toYaml $config }}
{{- end }}

{{/* Probes follow the admin port to HTTPS. Argument: list of the root and the probe. */}}
{{- define "forebay.probe" -}}
{{- $root := index . 0 }}
{{- $probe := deepCopy (index . 1) }}
{{- if and $root.Values.tls.adminSecret $probe.httpGet (not $probe.httpGet.scheme) }}
{{- $_ := set $probe.httpGet "scheme" "HTTPS" }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{/* What cannot work is refused when it is rendered. */}}
{{- define "forebay.validate" -}}
{{- $retention := .Values.persistence.retentionPolicy }}
{{- if and (eq $retention.whenScaled "Delete") (not $retention.acceptLossOfWhatADrainLeft) }}
{{- fail "persistence.retentionPolicy.whenScaled: Delete removes a volume even if its drain could not deliver everything; set persistence.retentionPolicy.acceptLossOfWhatADrainLeft: true if that is wanted" }}
{{- end }}
{{- if and .Values.persistence.existingClaim (or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1)) }}
{{- fail "persistence.existingClaim is for a single pod: set replicaCount: 1 and autoscaling.enabled: false" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled would scrape every pod twice: choose one" }}
{{- end }}
{{- end }}

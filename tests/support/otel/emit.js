// Sends records by the exporters of the OpenTelemetry SDK, batch by batch. A batch that fails is sent again with the
// same records until it is taken, as a sender does that loses nothing.
//
//   node emit.js SIGNAL TRANSPORT URL BATCHES RECORDS SECONDS
//
// SIGNAL: logs traces metrics; TRANSPORT: proto http (JSON) grpc; each with gzip. Prints a line "sent N" after each
// batch that was taken. Records are numbered: the attribute `number`.
'use strict';

const path = require('node:path');
const modules = path.join(process.env.OTEL_MODULES, 'node_modules');
const load = (name) => require(path.join(modules, name));
const [, , signal, transport, url, batches, records, seconds] = process.argv;
const deadline = Date.now() + Number(seconds) * 1000;
const {Resource} = load('@opentelemetry/resources');
const resource = new Resource({'service.name': 'shop', 'service.instance.id': 'i-1', 'host.name': 'größe "1"'});

const exporterOf = (kind, name) => {
  const options = {url, compression: 'gzip', timeoutMillis: 3000};
  return new (load(`@opentelemetry/exporter-${kind}-otlp-${transport}`)[name])(options);
};

const logs = async () => {
  const {LoggerProvider, SimpleLogRecordProcessor, InMemoryLogRecordExporter} = load('@opentelemetry/sdk-logs');
  const exporter = exporterOf('logs', 'OTLPLogExporter');
  return {exporter, make: (first, count) => {
    const memory = new InMemoryLogRecordExporter();
    const provider = new LoggerProvider({resource});
    provider.addLogRecordProcessor(new SimpleLogRecordProcessor(memory));
    const logger = provider.getLogger('lib', '1.0');
    for (let i = first; i < first + count; ++i) {
      logger.emit({
        timestamp: [1762000000, i], observedTimestamp: [1762000001, i], severityNumber: 9, severityText: 'INFO',
        body: i % 2 ? `line "${i}",\nnext` : {list: [i, 'ä', true, 0.5], text: `t${i}`}, attributes: {number: i, flag: true},
      });
    }
    return memory.getFinishedLogRecords();
  }};
};

const traces = async () => {
  const {BasicTracerProvider, SimpleSpanProcessor, InMemorySpanExporter} = load('@opentelemetry/sdk-trace-base');
  const exporter = exporterOf('trace', 'OTLPTraceExporter');
  return {exporter, make: (first, count) => {
    const memory = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({resource, spanProcessors: [new SimpleSpanProcessor(memory)]});
    const tracer = provider.getTracer('lib', '1.0');
    for (let i = first; i < first + count; ++i) {
      const span = tracer.startSpan(`work ${i}`, {kind: 1, startTime: [1762000000, i], attributes: {number: i}});
      span.addEvent('went', {step: i}, [1762000000, i + 1]);
      span.setStatus({code: 2, message: 'broke, "badly"'});
      span.end([1762000002, i + 5]);
    }
    return memory.getFinishedSpans();
  }};
};

const metrics = async () => {
  const {MeterProvider, MetricReader} = load('@opentelemetry/sdk-metrics');
  class Reader extends MetricReader {
    async onForceFlush() {}
    async onShutdown() {}
  }
  const exporter = exporterOf('metrics', 'OTLPMetricExporter');
  return {exporter, make: async (first, count) => {
    const reader = new Reader();
    const meter = new MeterProvider({resource, readers: [reader]}).getMeter('lib', '1.0');
    const counter = meter.createCounter('work.done', {unit: '{items}', description: 'done'});
    const histogram = meter.createHistogram('work.time', {unit: 's', advice: {explicitBucketBoundaries: [1, 10]}});
    for (let i = first; i < first + count; ++i) {
      counter.add(i + 0.5, {number: i});
      histogram.record(5, {number: i});
    }
    return (await reader.collect()).resourceMetrics;
  }};
};

const main = async () => {
  const {exporter, make} = await {logs, traces, metrics}[signal]();
  const send = (batch) => new Promise((resolve) => exporter.export(batch, (result) => resolve(result.code === 0)));
  for (let b = 0; b < Number(batches); ++b) {
    const batch = await make(b * Number(records), Number(records));
    while (!await send(batch)) {
      if (Date.now() > deadline) throw new Error('the time is over');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    console.log(`sent ${(b + 1) * Number(records)}`);
  }
};

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});

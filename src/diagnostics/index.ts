/**
 * `lifeguard-pool/diagnostics`: reports, metrics and health of the pools in a running process, above all of one in
 * trouble.
 */
export { LogSink, type LogSinkOptions } from '../runtime/log/log-sink.ts'
export { allReports, type ReportSignalOptions, reportAll } from './all-reports.ts'
export { type DiagnosticsHandlerOptions, diagnosticsHandler } from './http/diagnostics-handler.ts'
export {
  type DiagnosticsServer,
  type DiagnosticsServerOptions,
  serveDiagnostics,
} from './http/diagnostics-server.ts'
export { type ReportHandlerOptions, reportHandler } from './http/http-handler.ts'
export { installReportSignal } from './report-signal.ts'
export { recordTimeline, type TimelineOptions, type TimelineRecording } from './timeline/record-timeline.ts'
export type {
  Timeline,
  TimelineDrops,
  TimelineMark,
  TimelineSpan,
  TimelineState,
  TimelineWait,
} from './timeline/timeline.ts'

/** `lifeguard-pool/diagnostics`: what an operator wants of a live process, and above all of a sick one. */
export { LogSink, type LogSinkOptions } from '../runtime/log/log-sink.ts'
export { allReports, type ReportSignalOptions, reportAll } from './all-reports.ts'
export { type DiagnosticsHandlerOptions, diagnosticsHandler } from './diagnostics-handler.ts'
export {
  type DiagnosticsServer,
  type DiagnosticsServerOptions,
  serveDiagnostics,
} from './diagnostics-server.ts'
export { type ReportHandlerOptions, reportHandler } from './http-handler.ts'
export { installReportSignal } from './report-signal.ts'

/** `lifeguard-pool/diagnostics`: what an operator wants of a live process, and above all of a sick one. */
export { LogSink, type LogSinkOptions } from '../sink.ts'
export { type ReportHandlerOptions, reportHandler } from './http.ts'
export { allReports, type ReportSignalOptions, reportAll } from './reports.ts'
export { installReportSignal } from './signal.ts'

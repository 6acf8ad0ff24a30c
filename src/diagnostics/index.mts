/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export {
  allReports,
  diagnosticsHandler,
  installReportSignal,
  LogSink,
  recordTimeline,
  reportAll,
  reportHandler,
  serveDiagnostics,
} from './index.ts'

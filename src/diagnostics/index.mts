/* The same for `import`. */
export type * from './index.ts'
export {
  allReports,
  diagnosticsHandler,
  installReportSignal,
  LogSink,
  reportAll,
  reportHandler,
  serveDiagnostics,
} from './index.ts'

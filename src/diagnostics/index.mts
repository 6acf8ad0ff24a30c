/* The same for `import`. */
export type * from './index.ts'
export { allReports, installReportSignal, LogSink, reportAll, reportHandler } from './index.ts'

/* The entry point for `import`. It uses the same implementation as `require`. */
export type * from './index.ts'
export {
  createSimulation,
  LineClient,
  lineFactory,
  SimulatedPeer,
  SimulatedServer,
  Simulation,
} from './index.ts'

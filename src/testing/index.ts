/**
 * `lifeguard-pool/testing`: a simulated world for tests. Time is virtual, servers are scripts with faults, and the same
 * seed gives the same run.
 */
export { LineClient, lineFactory } from './line-client.ts'
export { SimulatedPeer } from './simulated-peer.ts'
export { SimulatedServer, type SimulatedServerOptions } from './simulated-server.ts'
export { createSimulation, Simulation, type SimulationOptions } from './simulation.ts'

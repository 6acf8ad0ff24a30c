import { neverAboveMax } from './cluster-max-scenes.ts'

neverAboveMax(3)

export default { build: { ssr: 'service.mjs', outDir: 'out/vite' }, ssr: { noExternal: true } }

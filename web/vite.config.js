import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The server hands the page out at /graphql and everything else under /explorer/.
export default defineConfig({
  base: '/explorer/',
  plugins: [react()],
  worker: { format: 'es' },
  build: {
    outDir: '../bioscope_gql/web/static',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 9999,
  },
})

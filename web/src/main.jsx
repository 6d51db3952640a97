import 'graphiql/setup-workers/vite'
import 'graphiql/style.css'
import './explorer.css'

import { GraphiQL } from 'graphiql'
import { createRoot } from 'react-dom/client'

import { account } from './account.jsx'
import { tabs } from './examples.js'
import { fetcher } from './fetcher.js'
import { files } from './files.jsx'
import { resume } from './session.js'

await resume()
createRoot(document.getElementById('root')).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={[account, files]}
    defaultTabs={tabs}
    defaultEditorToolsVisibility="variables"
    isHeadersEditorEnabled
    shouldPersistHeaders={false}
  />,
)

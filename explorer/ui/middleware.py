"""What stands between the browser and Streamlit."""

from starlette.middleware import Middleware

from explorer.ui.outbox import Outbox
from explorer.ui.style import Styled

MIDDLEWARE = (Middleware(Outbox), Middleware(Styled))

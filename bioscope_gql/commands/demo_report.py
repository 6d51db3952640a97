"""What the demo says when it has done its work: what came out, and where to look next."""

import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bioscope_gql.commands import demo_documents as documents
from bioscope_gql.commands.demo_account import Account
from bioscope_gql.commands.demo_screen import Screen
from bioscope_gql.commands.demo_table import Row, count
from bioscope_gql.commands.demo_work import Classified, Uploaded

DRAWN = (
    "These pictures are drawn, not photographed, so that there is something to look at. Real smears are "
    "harder: bring yours with --images DIR. The classifier is a reference model, not a medical device."
)
BROUGHT = "The classifier is a reference model for stained blood smears, not a medical device."


@dataclass(frozen=True)
class Shown:
    """All that came out."""

    account: Account
    dataset: str
    uploaded: Uploaded
    classified: Classified
    rows: Sequence[Row]

    @property
    def is_well(self) -> bool:
        """Every run ended COMPLETED, and there is something to show for it."""
        return self.classified.is_complete and any(row.label is not None for row in self.rows)


@dataclass(frozen=True)
class Report:
    """What came out, and what a reader has to know besides."""

    shown: Shown
    url: str
    data_dir: Path
    is_drawn: bool
    goes_on: bool
    """Whether the server serves after it."""
    notices: Sequence[str] = ()

    def tell(self, screen: Screen) -> None:
        screen.say()
        screen.say(DRAWN if self.is_drawn else BROUGHT, "dim")
        screen.say()
        self._tell_of_files(screen)
        if self.shown.rows:
            screen.table(self.shown.rows)
            self._tell_totals(screen)
        else:
            screen.say("Nothing was stored, so there is nothing to classify.")
            screen.say()
        if failed := self.shown.classified.failed:
            screen.refused(f"{count(len(failed), 'picture')} could not be classified:", failed)
        self._tell_where_to_look(screen)

    def _tell_of_files(self, screen: Screen) -> None:
        uploaded = self.shown.uploaded
        if uploaded.refused:
            went_on = "; the others went on" if uploaded.stored or uploaded.duplicates else ""
            screen.refused(f"{count(len(uploaded.refused), 'file')} not stored{went_on}:", uploaded.refused)
        if uploaded.duplicates:
            here = f"{count(len(uploaded.duplicates), 'picture')} already here"
            screen.names(here, uploaded.duplicates)
            if not self.shown.classified.statuses:
                screen.say(
                    "All of them have results, so nothing was run. These are the results that are kept:"
                )
                screen.say()

    def _tell_totals(self, screen: Screen) -> None:
        uploaded, classified = self.shown.uploaded, self.shown.classified
        labels = Counter(row.label for row in self.shown.rows if row.label is not None)
        screen.say(", ".join(f"{count} {label}" for label, count in labels.most_common()))
        if uploaded.stored:
            screen.say(f"{count(len(uploaded.stored), 'picture')} uploaded in {uploaded.seconds:.1f} s")
        if classified.statuses:
            ended = ", ".join(classified.statuses)
            screen.say(f"{count(len(classified.statuses), 'run')} in {classified.seconds:.1f} s: {ended}")
        screen.say()

    def _tell_where_to_look(self, screen: Screen) -> None:
        account, endpoint = self.shown.account, f"{self.url}/graphql"
        again = f"{bioscope()} dev --data-dir {shlex.quote(str(self.data_dir))}"
        where = {"Open": endpoint} if self.goes_on else {"Serve it": again}
        who = {"Sign in as": account.username, "Password": account.password}
        screen.facts({**where, **who, "Data": str(self.data_dir)})
        query = documents.DOUBTFUL % self.shown.dataset
        screen.say("What the model is less sure of, as a query for the browser and for a shell:")
        screen.say()
        screen.copyable(query)
        screen.say()
        screen.copyable(shell(endpoint, account, query))
        screen.say()
        for notice in self.notices:
            screen.say(notice, "dim")
        if self.goes_on:
            screen.say()
            screen.say("Serving until you press Ctrl-C.", "bold")


def shell(endpoint: str, account: Account, query: str) -> str:
    """A query as two commands of a shell: sign in, ask."""
    login = (
        f'mutation {{ login(input: {{login: "{account.username}", password: "{account.password}"}}) '
        "{ ... on AuthTokens { accessToken } } }"
    )

    def post(document: str, *headers: str) -> str:
        sent = " ".join(f'-H "{header}"' for header in ("Content-Type: application/json", *headers))
        return f"curl -s {endpoint} {sent} -d '{json.dumps({'query': ' '.join(document.split())})}'"

    return (
        f'TOKEN=$({post(login)} | sed \'s/.*"accessToken":"\\([^"]*\\)".*/\\1/\')\n'
        f"{post(query, 'Authorization: Bearer $TOKEN')}"
    )


def bioscope() -> str:
    """How the command is called from here: by its name only where that is found."""
    return "bioscope" if shutil.which("bioscope") else f"{sys.executable} -m bioscope_gql"

#!/usr/bin/env bash
# Trading days one after the other: what is carried and what starts anew, also with loss.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for how in "--days 2 --loss 0" "--days 3 --loss 0.02"; do
    # shellcheck disable=SC2086 # words on purpose
    cargo run --release --quiet -- demo $how --seconds 3 --rate 3000 --json "$out"
    python3 - "$out" "$how" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
days = r["days"]
assert len(days) == int(sys.argv[2].split()[1]), days
for day in days:
    for what in ("opening_equal", "closing_equal", "limits_equal", "numbers_anew",
                 "reports_equal", "feed_equal"):
        assert day[what] is True, (what, day)
    assert day["feed_first"] == 1 and day["unanswered"] == 0, day
    # 9,000 wanted to be; on a host that stood still the day ended before the last.
    assert day["orders_sent"] >= 1000 and day["expired"] > 0 and day["shares_traded"] > 0, day
assert len({d["session"] for d in days}) == len({d["day"] for d in days}) == len(days), days
print(f"{len(days)} days: all figures as expected")
P
done

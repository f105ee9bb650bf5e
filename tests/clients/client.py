import os, time
from py.client import AuthenticatedClient
from py.api.plans import create_plan, get_plan, update_plan
from py.models import PlanFields, PlanPatch, Interval, Problem, Code

client = AuthenticatedClient(base_url=os.environ["SERVER"], token=os.environ["KEY"])
fields = PlanFields(code=f"python-{time.time_ns()}", name="Basic", currency="USD", amount=1000, interval=Interval.MONTH)
plan = create_plan.sync(client=client, body=fields)
read = get_plan.sync(plan.id, client=client)
changed = update_plan.sync(plan.id, client=client, body=PlanPatch(name=read.name + "!"), if_match='"1"')
stale = update_plan.sync_detailed(plan.id, client=client, body=PlanPatch(name="stale"), if_match='"1"')
named = update_plan.sync_detailed(plan.id, client=client, body=PlanPatch(name="stale", version=1))
for answer, status in [(stale, 412), (named, 409)]:
    problem = answer.parsed
    assert isinstance(problem, Problem), answer
    assert answer.status_code == status and problem.code == Code.CONFLICT_VERSION_MISMATCH, answer
    assert problem.current_version == changed.version and problem.merge.verdict == "overlap", problem
print("openapi-python-client: GET, PATCH, 412 and 409 are typed")

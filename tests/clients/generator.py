import os, sys, time
sys.path.insert(0, "generated-python")

from openapi_client import ApiClient, Configuration, PlansApi, PlanFields, PlanPatch
from openapi_client.exceptions import ApiException

plans = PlansApi(ApiClient(Configuration(host=os.environ["SERVER"], access_token=os.environ["KEY"])))
fields = PlanFields(code=f"generator-{time.time_ns()}", name="Basic", currency="USD", amount=1000, interval="month")
plan = plans.create_plan(fields)
read = plans.get_plan(plan.id)
changed = plans.update_plan(plan.id, PlanPatch(name=read.name + "!"), if_match='"1"')

def refused(status, **arguments):
    try:
        plans.update_plan(plan.id, **arguments)
    except ApiException as error:
        problem = error.data
        assert error.status == status and problem.code == "CONFLICT_VERSION_MISMATCH", error
        assert problem.current_version == changed.version and problem.merge.verdict == "overlap", problem
    else:
        raise AssertionError("it was accepted")

refused(412, plan_patch=PlanPatch(name="stale"), if_match='"1"')
refused(409, plan_patch=PlanPatch(name="stale", version=1))
print("openapi-generator, python: GET, PATCH, 412 and 409 are typed")

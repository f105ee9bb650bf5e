import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.PlansApi;
import org.openapitools.client.api.PlansApi.APICreatePlanRequest;
import org.openapitools.client.api.PlansApi.APIGetPlanRequest;
import org.openapitools.client.api.PlansApi.APIUpdatePlanRequest;
import org.openapitools.client.model.*;

class Generator {
    static final ApiClient client = new ApiClient();

    static void refused(PlansApi plans, int status, APIUpdatePlanRequest request, long current) throws Exception {
        try {
            plans.updatePlan(request);
        } catch (ApiException error) {
            Problem problem = client.getObjectMapper().readValue(error.getResponseBody(), Problem.class);
            if (error.getCode() != status || problem.getCode() != Code.CONFLICT_VERSION_MISMATCH
                    || problem.getCurrentVersion() != current || problem.getMerge().getVerdict() != Verdict.OVERLAP) {
                throw error;
            }
            return;
        }
        throw new AssertionError(status + " was expected");
    }

    public static void main(String[] arguments) throws Exception {
        client.updateBaseUri(System.getenv("SERVER"));
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + System.getenv("KEY")));
        PlansApi plans = new PlansApi(client);

        PlanFields fields = new PlanFields().code("java-" + System.nanoTime()).name("Basic").currency("USD")
                .amount(1000L).interval(Interval.MONTH);
        Plan plan = plans.createPlan(APICreatePlanRequest.newBuilder().planFields(fields).build());
        Plan read = plans.getPlan(APIGetPlanRequest.newBuilder().id(plan.getId()).build());
        PlanPatch patch = new PlanPatch().name(read.getName() + "!");
        Plan changed = plans.updatePlan(
                APIUpdatePlanRequest.newBuilder().id(plan.getId()).planPatch(patch).ifMatch("\"1\"").build());
        PlanPatch stale = new PlanPatch().name("stale");
        refused(plans, 412,
                APIUpdatePlanRequest.newBuilder().id(plan.getId()).planPatch(stale).ifMatch("\"1\"").build(),
                changed.getVersion());
        PlanPatch named = new PlanPatch().name("stale").version(1L);
        refused(plans, 409, APIUpdatePlanRequest.newBuilder().id(plan.getId()).planPatch(named).build(),
                changed.getVersion());
        System.out.println("openapi-generator, java: GET, PATCH, 412 and 409 are typed");
    }
}

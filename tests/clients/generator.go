package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	openapi "example.com/generated/client"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Getenv("SERVER")}}
	plans := openapi.NewAPIClient(configuration).PlansAPI
	ctx := context.WithValue(context.Background(), openapi.ContextAccessToken, os.Getenv("KEY"))

	plan, _, err := plans.CreatePlan(ctx).PlanFields(openapi.PlanFields{
		Code: fmt.Sprintf("go-%d", time.Now().UnixNano()), Name: "Basic", Currency: "USD", Amount: 1000,
		Interval: openapi.INTERVAL_MONTH,
	}).Execute()
	must(plan, err)
	read, _, err := plans.GetPlan(ctx, plan.Id).Execute()
	must(read, err)
	name, base := read.Name+"!", int64(1)
	changed, _, err := plans.UpdatePlan(ctx, plan.Id).PlanPatch(openapi.PlanPatch{Name: &name}).IfMatch(`"1"`).Execute()
	must(changed, err)

	name = "stale"
	stale := plans.UpdatePlan(ctx, plan.Id).PlanPatch(openapi.PlanPatch{Name: &name}).IfMatch(`"1"`)
	named := plans.UpdatePlan(ctx, plan.Id).PlanPatch(openapi.PlanPatch{Name: &name, Version: &base})
	for status, request := range map[int]openapi.ApiUpdatePlanRequest{412: stale, 409: named} {
		_, answer, err := request.Execute()
		var refused *openapi.GenericOpenAPIError
		if !errors.As(err, &refused) {
			log.Fatalf("%d was expected: %v", status, err)
		}
		problem, typed := refused.Model().(openapi.Problem)
		if !typed || answer.StatusCode != status || problem.Code != openapi.CODE_CONFLICT_VERSION_MISMATCH ||
			problem.CurrentVersion == nil || *problem.CurrentVersion != changed.Version ||
			problem.Merge == nil || problem.Merge.Verdict != openapi.VERDICT_OVERLAP {
			log.Fatalf("%d: %s", answer.StatusCode, refused.Body())
		}
	}
	fmt.Println("openapi-generator, go: GET, PATCH, 412 and 409 are typed")
}
